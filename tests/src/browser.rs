//! Headless Chromium, driven by chromedriver through the W3C WebDriver protocol.

use std::{fs, net::SocketAddr, process::Command, time::Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{PATIENCE, Process};

/// A running chromedriver; each test has its own.
#[derive(Debug)]
pub struct Driver {
    _process: Process,
    agent: ureq::Agent,
    base: String,
    /// The home folder of its browsers, if they check certificates; others accept any.
    home: Option<TempDir>,
}

/// One browser with a profile of its own, closed when dropped.
#[derive(Debug)]
pub struct Browser<'a> {
    driver: &'a Driver,
    session: String,
    _profile: TempDir,
}

/// A tab of a browser.
#[derive(Debug)]
pub struct Tab(Value);

/// How big a browser's window is, and what it says of its person.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// CSS pixels of the page.
    pub size: (u32, u32),
    /// A phone with a touch screen.
    pub phone: bool,
    /// The language it asks for, such as `id`.
    pub language: &'static str,
}

/// A laptop's window, in English.
pub const DESKTOP: Look = Look { size: (1280, 800), phone: false, language: "en" };
/// A small phone, in English.
pub const PHONE: Look = Look { size: (360, 640), phone: true, language: "en" };

/// What chromedriver says; the port that it found free by IPv4 may be another program's by IPv6.
const STARTED: &str = "was started successfully on port";
const TAKEN: &str = "port not available";

/// WebDriver's name of an element in JSON (W3C WebDriver, 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// What chromedriver says of an element that is not in the page any more (W3C WebDriver, 6.6).
const STALE: &str = "stale element";
/// The Enter key (W3C WebDriver, 17.4.2).
pub const ENTER: &str = "\u{e007}";

impl Driver {
    /// Starts chromedriver on a free port.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(None)
    }

    /// The same, for browsers that accept only certificates of public sites and of this root, which is in DER. Needs `certutil`.
    ///
    /// # Panics
    /// If it does not start, or the root cannot be installed.
    #[must_use]
    pub fn start_trusting(root: &[u8]) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let (file, base) = (home.path().join("root.crt"), home.path().join(".pki/nssdb"));
        fs::write(&file, root).and_then(|()| fs::create_dir_all(&base)).expect("the folder is ours");
        let base = format!("sql:{}", base.display());
        let new = ["-d", &base, "-N", "--empty-password"];
        let install = ["-d", &base, "-A", "-n", "site", "-t", "C,,", "-i"];
        for (args, file) in [(&new[..], None), (&install[..], Some(&file))] {
            let done = Command::new("certutil").args(args).args(file).output().expect("certutil starts");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        Self::start_at(Some(home))
    }

    fn start_at(home: Option<TempDir>) -> Self {
        let (process, port) = loop {
            let mut command = Command::new("chromedriver");
            command.arg("--port=0").envs(home.iter().map(|home| ("HOME", home.path())));
            let process = Process::spawn(command);
            let line = process.stdout_line("the port", |line| line.contains(STARTED) || line.contains(TAKEN));
            if let Some((_, port)) = line.split_once(STARTED) {
                break (process, port.trim_matches([' ', '.']).to_owned());
            }
        };
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(2 * PATIENCE));
        Self { _process: process, agent: config.build().into(), base: format!("http://127.0.0.1:{port}"), home }
    }

    /// Opens a browser at a page.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn open(&self, look: Look, url: &str) -> Browser<'_> {
        let profile = TempDir::new().expect("a temporary folder");
        let (width, height) = look.size;
        let mut options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
                format!("--window-size={width},{height}"), format!("--lang={}", look.language),
                format!("--user-data-dir={}", profile.path().display()),
                format!("--host-resolver-rules=MAP {ANOTHER_MACHINE} 127.0.0.1"),
            ],
            "prefs": { "intl.accept_languages": look.language },
        });
        if look.phone {
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 2, "touch": true });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let accepts_any = self.home.is_none();
        let capabilities = json!({ "browserName": "chrome", "acceptInsecureCerts": accepts_any, "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" }, "timeouts": { "script": PATIENCE.as_millis() as u64 } });
        let made = self.call("POST", "/session", &json!({ "capabilities": { "alwaysMatch": capabilities } }));
        let session = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        let browser = Browser { driver: self, session, _profile: profile };
        browser.go(url);
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let answer = match method {
            "POST" => self.agent.post(&url).content_type("application/json").send(body.to_string()),
            "DELETE" => self.agent.delete(&url).call(),
            _ => self.agent.get(&url).call(),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let mut json: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let value = json["value"].take();
        if answer.status().is_success() { Ok(value) } else { Err(value["message"].to_string()) }
    }
}

impl Browser<'_> {
    /// Opens another page.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub fn go(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    /// The tab that all else is done in.
    ///
    /// # Panics
    /// If the browser is gone.
    #[must_use]
    pub fn tab(&self) -> Tab {
        Tab(self.call("GET", "/window", &Value::Null))
    }

    /// Opens another tab of the same person at a page, and goes there.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn open_tab(&self, url: &str) -> Tab {
        let tab = Tab(self.call("POST", "/window/new", &json!({ "type": "tab" }))["handle"].take());
        self.switch(&tab);
        self.go(url);
        tab
    }

    /// Goes to a tab.
    ///
    /// # Panics
    /// If it is closed.
    pub fn switch(&self, tab: &Tab) {
        self.call("POST", "/window", &json!({ "handle": tab.0 }));
    }

    /// The value of a function's body that gets `args` as `arguments`; a promise is awaited.
    ///
    /// # Panics
    /// If it throws.
    pub fn run(&self, body: &str, args: &[Value]) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": body, "args": args }))
    }

    /// Waits until a function's body gives something that is true, looking whenever the page changes; gives that.
    ///
    /// # Panics
    /// After [`PATIENCE`], with what the page shows.
    pub fn wait(&self, what: &str, body: &str) -> Value {
        let script = format!(
            "const done = arguments[0];
             const look = () => {{
               const found = (() => {{ {body} }})();
               if (found) {{ observer.disconnect(); done(found); }}
               return found;
             }};
             const observer = new MutationObserver(look);
             observer.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
             look();"
        );
        let waited = self.try_call("POST", "/execute/async", &json!({ "script": script, "args": [] }));
        waited.unwrap_or_else(|error| {
            panic!("never: {what}: {error}\nthe page: {}\n{}", self.shown("body"), self.console().join("\n"))
        })
    }

    /// Clicks the first element that fits.
    ///
    /// # Panics
    /// If there is none that can be clicked.
    pub fn click(&self, selector: &str) {
        self.act(selector, "click", &json!({}));
    }

    /// Types into the first element that fits.
    ///
    /// # Panics
    /// If there is none that takes keys.
    pub fn keys(&self, selector: &str, text: &str) {
        self.act(selector, "value", &json!({ "text": text }));
    }

    /// What the first element that fits shows as text.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn shown(&self, selector: &str) -> String {
        let text = self.run("return document.querySelector(arguments[0]).innerText", &[json!(selector)]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What the page wrote on its console, or was refused by its policy, since the last look.
    ///
    /// # Panics
    /// If the browser is gone.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", &json!({ "type": "browser" }));
        let message = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.as_array().map(|entries| entries.iter().map(message).collect()).unwrap_or_default()
    }

    /// The page may draw an element anew between finding it and what is done to it; then nothing was done.
    fn act(&self, selector: &str, action: &str, body: &Value) {
        let begun = Instant::now();
        loop {
            let element = self.find(selector);
            match self.try_call("POST", &format!("/element/{element}/{action}"), body) {
                Ok(_) => return,
                Err(error) if error.contains(STALE) && begun.elapsed() < PATIENCE => {}
                Err(error) => panic!("{action} {selector}: {error}"),
            }
        }
    }

    fn find(&self, selector: &str) -> String {
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("no element {selector}: {found}")).to_owned()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.driver.try_call(method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // A driver that is gone took its browsers with it.
        let _ = self.try_call("DELETE", "", &Value::Null);
    }
}

/// A host name by which a browser takes the page for another machine's. Browsers trust an unencrypted page of their own machine as
/// one that came by HTTPS.
pub const ANOTHER_MACHINE: &str = "server.lan";

/// The page of a hub that listens there, as if on another machine.
#[must_use]
pub fn distant_page_url(addr: SocketAddr) -> String {
    format!("http://{ANOTHER_MACHINE}:{}/", addr.port())
}

/// The page of a hub that listens there.
#[must_use]
pub fn page_url(addr: SocketAddr) -> String {
    format!("http://{addr}/")
}
