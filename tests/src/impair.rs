//! Faults of a lab's network, made by nftables at one host, and what a host counts. Needs root and `nft`.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::Stdio,
};

use crate::lab::{Host, INTERFACE};

/// Both tables of a host, whichever is there.
const HEAL: &str = "add table inet impaired; delete table inet impaired; \
                    add table netdev impaired; delete table netdev impaired;";

/// One fault at a time: each call takes the place of the one before.
impl Host {
    /// Loses each UDP datagram that comes in with a probability of `permille` / 1000, whatever other hosts lose.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn lose(&self, permille: u32) {
        self.drop_incoming(&format!("numgen random mod 1000 < {permille}"));
    }

    /// Loses all multicast UDP that comes in.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn lose_multicast(&self) {
        self.drop_incoming("ip daddr 224.0.0.0/4");
    }

    /// Loses all UDP that comes in packets of more than `bytes`, as a small MTU on the way does.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn lose_longer_than(&self, bytes: u32) {
        self.drop_incoming(&format!("ip length > {bytes}"));
    }

    /// Sends every `nth` multicast datagram twice.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn duplicate(&self, nth: u32) {
        let which = format!("ip daddr 224.0.0.0/4 ip protocol udp numgen inc mod {nth} == 0");
        let chain = format!("type filter hook egress device \"{INTERFACE}\" priority 0;");
        self.nft(&format!(
            "{HEAL} table netdev impaired {{ chain out {{ {chain} {which} counter dup to \"{INTERFACE}\"; }}; }}"
        ));
    }

    /// Sends at most so many megabits a second; what is more is dropped.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn limit_output(&self, mbit: u32) {
        let chain = format!("type filter hook egress device \"{INTERFACE}\" priority 0;");
        let limit = format!("limit rate over {} bytes/second burst 64 kbytes counter drop;", mbit * 125_000);
        self.nft(&format!("{HEAL} table netdev impaired {{ chain out {{ {chain} {limit} }}; }}"));
    }

    /// Ends the fault.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn heal(&self) {
        self.nft(HEAL);
    }

    /// How many datagrams the fault has met.
    ///
    /// # Panics
    /// If `nft` fails.
    #[must_use]
    pub fn impaired(&self) -> u64 {
        let rules = self.command("nft").args(["list", "ruleset"]).output().expect("`nft` is installed");
        let rules = String::from_utf8_lossy(&rules.stdout);
        let counted = rules.split("counter packets ").skip(1);
        counted.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Bytes that have left its interface, Ethernet headers included.
    ///
    /// # Panics
    /// If the host is gone.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        // `ip netns exec` shows the host's own /sys; a thread that entered the host would see the machine's.
        let path = format!("/sys/class/net/{INTERFACE}/statistics/tx_bytes");
        let output = self.command("cat").arg(path).output().expect("`cat` is installed");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of bytes")
    }

    /// The figures of a metrics page on this host, labels within their names.
    ///
    /// # Panics
    /// If the page cannot be read.
    #[must_use]
    pub fn figures(&self, port: u16) -> BTreeMap<String, f64> {
        let page = self.within(|| {
            let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the metrics page is there");
            connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request is sent");
            let mut page = String::new();
            connection.read_to_string(&mut page).expect("the page is text");
            page
        });
        let figures = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        figures.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    fn drop_incoming(&self, which: &str) {
        let chain = "type filter hook input priority 0;";
        let rule = format!("iifname \"{INTERFACE}\" meta l4proto udp {which} counter drop;");
        self.nft(&format!("{HEAL} table inet impaired {{ chain in {{ {chain} {rule} }}; }}"));
    }

    /// Adds filter rules, in the words of nftables, with `;` before every `}`.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn nft(&self, script: &str) {
        let mut nft = self.command("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = nft.spawn().expect("`nft` is installed");
        child.stdin.take().expect("stdin is piped").write_all(script.as_bytes()).expect("nft reads its script");
        let output = child.wait_with_output().expect("nft was started");
        assert!(output.status.success(), "nft: {script}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
}
