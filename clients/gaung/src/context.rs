//! The user and the server, resolved from flags, environment and system.

use std::{
    env,
    fmt::Display,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use gaung_client::{Client, ClientError, Device, DeviceKeyFile, FoundServer, MetSite, Settings, SiteCode};
use gaung_proto::DisplayName;
use gaung_site::ServerAddress;
use gaung_terminal::sanitise::one_line;
use tokio::sync::OnceCell;

use crate::{
    cli::{CommonArgs, server_with_code},
    failure::Failure,
    output::say,
    passphrase::PassphraseSource,
};

/// The common flags, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The address of the registry, with the code of its site if that is pinned; found by discovery if `None`.
    pub(crate) server: Option<String>,
    /// Whether to speak plaintext.
    pub(crate) insecure: bool,
    /// The name that others see.
    pub(crate) name: DisplayName,
    /// The folder of the device key.
    pub(crate) data_dir: PathBuf,
    /// The interface for multicast; all if `None`.
    pub(crate) iface: Option<String>,
    /// Who is asked for the passphrase of the device key.
    pub(crate) passphrases: PassphraseSource,
    /// The device once its key was read, so that a passphrase is asked for once.
    pub(crate) device: Arc<OnceCell<Device>>,
}

impl Context {
    /// Resolves each flag or else its variable; an empty variable counts as unset.
    ///
    /// # Errors
    /// [`Failure`] of usage if a variable is invalid or there is no folder for data.
    pub(crate) fn new(args: CommonArgs) -> anyhow::Result<Self> {
        Self::with_vars(args, |name| env::var(name).ok())
    }

    fn with_vars(args: CommonArgs, var: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let server = either(args.server, &var, "GAUNG_SERVER", server_with_code)?;
        let name = either(args.name, &var, "GAUNG_NAME", str::parse)?.unwrap_or_else(|| login_name(&var));
        let insecure = Some(args.insecure).filter(|insecure| *insecure);
        let insecure = either(insecure, &var, "GAUNG_INSECURE", on_or_off)?.unwrap_or(false);
        let iface = args.iface.or_else(|| var("GAUNG_IFACE"));
        let data_dir = match args.data.or_else(|| var("GAUNG_DATA").map(PathBuf::from)) {
            Some(dir) => dir,
            None => data_home(&var)?,
        };
        let passphrases = PassphraseSource::new(var("GAUNG_PASSPHRASE_FILE").map(PathBuf::from));
        Ok(Self { server, insecure, name, data_dir, iface, passphrases, device: Arc::default() })
    }

    /// Returns the settings of the SDK.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            server: self.server.clone(),
            insecure: self.insecure,
            name: Some(self.name.clone()),
            iface: self.iface.clone(),
            ..Settings::new(&self.data_dir)
        }
    }

    /// Returns the file of the device key.
    pub(crate) fn device_key_file(&self) -> DeviceKeyFile {
        DeviceKeyFile::new(&self.data_dir)
    }

    /// Reads or makes the device key, and asks for its passphrase if it is protected.
    async fn device(&self) -> anyhow::Result<Device> {
        let read = async || {
            let (passphrases, file) = (self.passphrases.clone(), self.device_key_file());
            tokio::task::spawn_blocking(move || passphrases.unlock(&file)).await?.map(|unlocked| unlocked.device)
        };
        self.device.get_or_try_init(read).await.cloned()
    }

    /// Connects. If discovery finds several servers, or a server belongs to another site than the known one, asks the person;
    /// without a terminal that is an error. Shows the code of a site that is met for the first time.
    ///
    /// # Errors
    /// [`ClientError`], [`gaung_client::DeviceError`]; [`Failure`] of usage if nobody can be asked for a passphrase.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let client = self.connect_unannounced().await?;
        if let Some(met) = client.site().filter(MetSite::is_first_contact) {
            say(&first_contact(met.id.code(), &client.server()));
        }
        Ok(client)
    }

    async fn connect_unannounced(&self) -> anyhow::Result<Client> {
        let device = self.device().await?;
        match Client::connect_as(device.clone(), self.settings()).await {
            Err(ClientError::SeveralServers(found)) => {
                let pin = self.pinned().map(|code| format!("#{code}")).unwrap_or_default();
                let server = Some(choose(&found)? + &pin);
                Box::pin(Self { server, ..self.clone() }.connect_unannounced()).await
            }
            Err(ClientError::OtherSite { address, shown, expected })
                if self.pinned().is_none() && is_interactive() && wants_to_trust(&address, shown, &expected)? =>
            {
                let server = Some(format!("{address}#{shown}"));
                Ok(Client::connect_as(device, Settings { server, ..self.settings() }).await?)
            }
            other => Ok(other?),
        }
    }

    /// Returns the same user and server, of which this site is demanded.
    ///
    /// # Errors
    /// [`Failure`] of usage if another one is demanded already.
    pub(crate) fn pinned_to(&self, code: SiteCode) -> anyhow::Result<Self> {
        if let Some(other) = self.pinned().filter(|pinned| *pinned != code) {
            return Err(Failure::usage(format!("--server names the site {other}, not {code}")).into());
        }
        let host = self.named().map_or("", |named| named.host);
        Ok(Self { server: Some(format!("{host}#{code}")), ..self.clone() })
    }

    fn pinned(&self) -> Option<SiteCode> {
        self.named()?.code
    }

    fn named(&self) -> Option<ServerAddress<'_>> {
        ServerAddress::parse(self.server.as_deref()?).ok()
    }
}

/// Returns the flag, else the parsed variable.
fn either<T, E: Display>(
    flag: Option<T>,
    var: &impl Fn(&str) -> Option<String>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    match (flag, var(name)) {
        (Some(value), _) => Ok(Some(value)),
        (None, Some(text)) => match parse(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Failure::usage(format!("{name}={text:?} in the environment: {error}"))),
        },
        (None, None) => Ok(None),
    }
}

fn data_home(var: &impl Fn(&str) -> Option<String>) -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(base) = absolute("XDG_DATA_HOME") {
        return Ok(base.join("gaung"));
    }
    match absolute("HOME") {
        Some(home) => Ok(home.join(Path::new(".local/share/gaung"))),
        None => {
            Err(Failure::usage("no place for the device key: neither HOME nor XDG_DATA_HOME is set; give --data DIR")
                .into())
        }
    }
}

fn login_name(var: &impl Fn(&str) -> Option<String>) -> DisplayName {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| var(name)?.parse().ok());
    named.unwrap_or_else(|| "anonymous".parse().expect("a valid name"))
}

fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("write 1 or 0"),
    }
}

/// Returns the one line that a person is shown of a site that is met for the first time.
fn first_contact(code: SiteCode, server: &str) -> String {
    format!("first contact with the site {code} at {server}; compare the code with the one that the server shows")
}

/// Asks whether to trust another site where `expected` was met.
fn wants_to_trust(address: &str, shown: SiteCode, expected: &[SiteCode]) -> anyhow::Result<bool> {
    let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
    say(&format!(
        "The server at {address} is not the one that this device knows.\n  known  {}\n  shown  {shown}\n\
         It was set up anew, or another one poses as it. Compare the shown code with the one that the server shows at its start.\n\
         Trust {shown} from now on? yes or no",
        expected.join(" or "),
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
}

/// Returns whether a person can be asked.
fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn choose(found: &[FoundServer]) -> anyhow::Result<String> {
    let list = found.iter().enumerate();
    let lines: Vec<_> = list.map(|(i, server)| format!("  {}  {}", i + 1, one_line(&server.to_string()))).collect();
    say(&format!("Several servers answered:\n{}", lines.join("\n")));
    if !is_interactive() {
        return Err(Failure::usage("several servers answered; say which one with --server HOST:PORT").into());
    }
    loop {
        say(&format!("Which one? 1 to {}", found.len()));
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).context("cannot read the choice")?;
        if read == 0 {
            return Err(Failure::usage("none was chosen; say which one with --server HOST:PORT").into());
        }
        if let Some(server) = line.trim().parse::<usize>().ok().and_then(|n| found.get(n.checked_sub(1)?)) {
            return Ok(server.server.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_client::SiteId;

    use super::*;

    fn resolved(args: CommonArgs, vars: &[(&str, &str)]) -> anyhow::Result<Context> {
        Context::with_vars(args, |name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    fn none() -> CommonArgs {
        CommonArgs { server: None, insecure: false, name: None, iface: None, data: None }
    }

    #[test]
    fn the_data_folder_follows_xdg() {
        let dir = |args, vars: &[(&str, &str)]| resolved(args, vars).unwrap().data_dir;
        assert_eq!(dir(none(), &[("HOME", "/home/ani")]), Path::new("/home/ani/.local/share/gaung"));
        assert_eq!(dir(none(), &[("HOME", "/home/ani"), ("XDG_DATA_HOME", "/d")]), Path::new("/d/gaung"));
        assert_eq!(dir(none(), &[("HOME", "/h"), ("XDG_DATA_HOME", "relative")]), Path::new("/h/.local/share/gaung"));
        let flag = CommonArgs { data: Some("/x".into()), ..none() };
        assert_eq!(dir(flag, &[("XDG_DATA_HOME", "/d"), ("GAUNG_DATA", "/g")]), Path::new("/x"));
        assert_eq!(dir(none(), &[("XDG_DATA_HOME", "/d"), ("GAUNG_DATA", "/g")]), Path::new("/g"));
        assert_eq!(crate::failure::exit_code(&resolved(none(), &[]).unwrap_err()), 2);
    }

    #[test]
    fn the_login_name_is_used_unless_it_is_invalid() {
        let name = |vars: &[(&str, &str)]| {
            let vars = [&[("HOME", "/h")], vars].concat();
            resolved(none(), &vars).unwrap().name.to_string()
        };
        assert_eq!(name(&[("USER", "ani")]), "ani");
        assert_eq!(name(&[("USER", ""), ("LOGNAME", "budi")]), "budi");
        assert_eq!(name(&[("USER", "a\x1b[2J")]), "anonymous");
        assert_eq!(name(&[]), "anonymous");
        assert_eq!(name(&[("GAUNG_NAME", "Citra"), ("USER", "ani")]), "Citra");
        assert_eq!(name(&[("GAUNG_NAME", ""), ("USER", "ani")]), "ani");
        let flag = CommonArgs { name: Some("Lina".parse().unwrap()), ..none() };
        assert_eq!(resolved(flag, &[("HOME", "/h"), ("USER", "ani")]).unwrap().name.as_str(), "Lina");
    }

    #[test]
    fn an_invalid_variable_is_named() {
        for (name, value) in
            [("GAUNG_SERVER", "a/b"), ("GAUNG_SERVER", "a#b"), ("GAUNG_INSECURE", "?"), ("GAUNG_NAME", " x")]
        {
            let error = resolved(none(), &[("HOME", "/h"), (name, value)]).unwrap_err();
            assert_eq!(crate::failure::exit_code(&error), 2);
            assert!(error.to_string().contains(name), "{error}");
        }
        let server = resolved(none(), &[("HOME", "/h"), ("GAUNG_SERVER", "lab:1")]).unwrap().server;
        assert_eq!(server.as_deref(), Some("lab:1"));
    }

    #[test]
    fn insecure_comes_from_flag_or_variable() {
        let insecure = |args, value| resolved(args, &[("HOME", "/h"), ("GAUNG_INSECURE", value)]).unwrap().insecure;
        assert!(insecure(none(), "1") && !insecure(none(), "0") && !insecure(none(), ""));
        assert!(insecure(CommonArgs { insecure: true, ..none() }, "0"));
    }

    #[test]
    fn a_code_is_demanded_beside_the_server_that_was_named() {
        let code = SiteId::from_bytes([7; 16]).code();
        let at =
            |server: &str| Context { server: Some(server.to_owned()), ..resolved(none(), &[("HOME", "/h")]).unwrap() };
        let pinned = |context: Context| context.pinned_to(code).map(|context| context.server.unwrap());
        assert_eq!(pinned(at("lab:1")).unwrap(), format!("lab:1#{code}"));
        assert_eq!(pinned(at(&format!("lab#{code}"))).unwrap(), format!("lab#{code}"));
        assert_eq!(pinned(resolved(none(), &[("HOME", "/h")]).unwrap()).unwrap(), format!("#{code}"));
        let other = SiteId::from_bytes([8; 16]).code();
        assert_eq!(crate::failure::exit_code(&pinned(at(&format!("lab#{other}"))).unwrap_err()), 2);
    }
}
