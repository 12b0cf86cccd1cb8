//! `gaung site`: lists, trusts and forgets the sites that this device knows.

use gaung_client::{ErrorKind, SiteCode};
use gaung_site::{KnownSite, KnownSitesFile, TrustBasis};
use gaung_terminal::table::table;
use serde::Serialize;

use crate::{
    cli::site::{SiteArgs, SiteCommand},
    context::Context,
    failure::Failure,
    group::to_json,
    output::{Output, say},
    render::time::rfc3339_s,
};

/// Runs a command on the known sites.
///
/// # Errors
/// [`Failure`] of kind not found for a site that is not known; [`gaung_client::ClientError`]; if the file of known sites cannot
/// be read or written.
pub(crate) async fn run(context: &Context, args: SiteArgs) -> anyhow::Result<()> {
    let known = KnownSitesFile::new(&context.data_dir);
    match args.command {
        None => show(known.read()?.sites(), args.json),
        Some(SiteCommand::Trust(trust)) => {
            let client = context.pinned_to(trust.code)?.connect().await?;
            let Some(met) = client.site() else {
                return Err(Failure::new(ErrorKind::Failed, "the server has no site").into());
            };
            say(&format!("trusts {} at {}", trust.code, client.server()));
            let sites = known.read()?;
            let site: Vec<_> = sites.sites().iter().filter(|site| site.id == met.id).cloned().collect();
            if args.json { show(&site, true) } else { Ok(()) }
        }
        Some(SiteCommand::Forget(forget)) => {
            if let Some(forgotten) = take(&known, forget.code)? {
                say(&format!("forgot {}", forget.code));
                return if args.json { show(&[forgotten], true) } else { Ok(()) };
            }
            let message =
                format!("this device does not know the site {}; `gaung site` lists those that it knows", forget.code);
            Err(Failure::new(ErrorKind::NotFound, message).into())
        }
    }
}

fn take(known: &KnownSitesFile, code: SiteCode) -> anyhow::Result<Option<KnownSite>> {
    Ok(known.update(|sites| {
        let site = sites.sites().iter().find(|site| site.id.code() == code).cloned()?;
        sites.forget(site.id);
        Some(site)
    })?)
}

fn show(sites: &[KnownSite], as_json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if as_json {
        sites.iter().try_for_each(|site| output.line(&to_json(&SiteEntry::from(site))))?;
    } else if sites.is_empty() {
        say("this device knows no site yet");
    } else {
        let rows: Vec<_> = sites.iter().map(|site| SiteEntry::from(site).row()).collect();
        table(["SITE", "TRUSTED BY", "SINCE", "ADDRESSES"], &rows).iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()
}

/// A known site as it is shown.
#[derive(Debug, Serialize)]
struct SiteEntry {
    site: String,
    code: String,
    /// `code` or `first-contact`.
    basis: &'static str,
    since: String,
    /// The newest first.
    addresses: Vec<String>,
}

impl From<&KnownSite> for SiteEntry {
    fn from(site: &KnownSite) -> Self {
        Self {
            site: site.id.to_string(),
            code: site.id.code().to_string(),
            basis: match site.basis {
                TrustBasis::FirstContact => "first-contact",
                TrustBasis::Code => "code",
            },
            since: rfc3339_s(i64::try_from(site.since_unix_s).unwrap_or(i64::MAX).saturating_mul(1000)),
            addresses: site.endpoints.iter().map(ToString::to_string).collect(),
        }
    }
}

impl SiteEntry {
    fn row(self) -> [String; 4] {
        [self.code, self.basis.replace('-', " "), self.since, self.addresses.join(" ")]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_client::SiteId;

    use super::*;

    #[test]
    fn a_site_is_shown_with_why_and_where_it_is_trusted() {
        let site = KnownSite {
            id: SiteId::from_bytes([7; 16]),
            basis: TrustBasis::FirstContact,
            since_unix_s: 1_772_366_400,
            endpoints: vec!["192.168.1.10:7400".parse().unwrap(), "lab.local:7400".parse().unwrap()],
        };
        let code = site.id.code().to_string();
        let json: serde_json::Value = serde_json::from_str(&to_json(&SiteEntry::from(&site))).unwrap();
        assert_eq!(json["code"], code);
        assert_eq!((&json["basis"], &json["since"]), (&"first-contact".into(), &"2026-03-01T12:00:00Z".into()));
        assert_eq!(json["addresses"], serde_json::json!(["192.168.1.10:7400", "lab.local:7400"]));
        let row = SiteEntry::from(&site).row();
        assert_eq!(row, [code.as_str(), "first contact", "2026-03-01T12:00:00Z", "192.168.1.10:7400 lab.local:7400"]);
        let far = KnownSite { since_unix_s: u64::MAX, ..site };
        assert!(SiteEntry::from(&far).since.ends_with('Z'));
    }
}
