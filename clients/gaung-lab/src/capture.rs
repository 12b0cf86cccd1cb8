//! Captures the frames of an interface, in the format that Wireshark and tcpdump read.

use std::{
    io::{self, Read as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::network::Host;

/// A frame and the time it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    seen: Duration,
    bytes: Vec<u8>,
}

/// A running capture of a host's interface.
#[derive(Debug)]
pub(crate) struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Frame>>>,
}

/// Counts of frames by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameCounts {
    /// UDP to a group.
    pub multicast: u32,
    /// UDP to the network's broadcast address.
    pub broadcast: u32,
    /// UDP to one host.
    pub unicast: u32,
    /// TCP.
    pub tcp: u32,
    /// IGMP.
    pub igmp: u32,
    /// ARP.
    pub arp: u32,
    /// Anything else.
    pub other: u32,
}

/// `ETH_P_ALL` in network order: only sockets for all protocols see what is sent.
const ALL_PROTOCOLS: u16 = 3_u16.to_be();
/// Between looks at the stop flag.
const LOOK: Duration = Duration::from_millis(20);
const LARGEST: usize = 65_536;
const ETHERNET_HEADER: usize = 14;

impl Capture {
    /// Starts a capture; it has every frame that passes after this returns.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(host: &Host) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let socket = host.machine.within(open).context("cannot open a packet socket")?;
        let thread = thread::spawn(move || collect(socket, &stopped));
        Ok(Self { stop, thread })
    }

    /// Ends the capture and returns its frames.
    ///
    /// # Errors
    /// The system's error while the capture ran.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<Frame>> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("a capture does not panic").context("cannot read a packet socket")
    }
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ALL_PROTOCOLS))))?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

fn collect(mut socket: Socket, stop: &AtomicBool) -> io::Result<Vec<Frame>> {
    let mut frames = Vec::new();
    let mut frame = vec![0; LARGEST];
    loop {
        // Frames that passed before the flag was set wait in the socket already.
        let last_look = stop.load(Ordering::Acquire);
        match socket.read(&mut frame) {
            Ok(len) if of_a_cable(&frame[..len]) => {
                let seen = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                frames.push(Frame { seen, bytes: frame[..len].to_vec() });
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if last_look {
                    return Ok(frames);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns whether a frame has Ethernet addresses, which those of `lo` do not.
fn of_a_cable(frame: &[u8]) -> bool {
    frame.get(..12).is_some_and(|addresses| addresses.iter().any(|byte| *byte != 0))
}

/// Encodes a pcap file: a header of 24 bytes, and 16 before each frame, little-endian (draft-ietf-opsawg-pcap).
pub(crate) fn to_pcap(frames: &[Frame]) -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut file = Vec::new();
    file.extend(MAGIC.to_le_bytes());
    file.extend([2_u16, 4].map(u16::to_le_bytes).concat());
    file.extend([0, 0, LARGEST as u32, ETHERNET].map(u32::to_le_bytes).concat());
    for Frame { seen, bytes } in frames {
        let seconds = u32::try_from(seen.as_secs()).unwrap_or(u32::MAX);
        let length = u32::try_from(bytes.len()).expect("at most LARGEST");
        file.extend([seconds, seen.subsec_micros(), length, length].map(u32::to_le_bytes).concat());
        file.extend(bytes);
    }
    file
}

impl FrameCounts {
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let mut kinds = Self::default();
        for frame in frames {
            *kinds.kind(&frame.bytes) += 1;
        }
        kinds
    }

    fn kind(&mut self, frame: &[u8]) -> &mut u32 {
        let ip = frame.get(ETHERNET_HEADER..).unwrap_or_default();
        match (frame.get(12..14), ip.get(9), ip.get(16), ip.get(19)) {
            (Some([0x08, 0x06]), ..) => &mut self.arp,
            (Some([0x08, 0x00]), Some(2), ..) => &mut self.igmp,
            (Some([0x08, 0x00]), Some(6), ..) => &mut self.tcp,
            (Some([0x08, 0x00]), Some(17), Some(224..=239), _) => &mut self.multicast,
            (Some([0x08, 0x00]), Some(17), _, Some(255)) => &mut self.broadcast,
            (Some([0x08, 0x00]), Some(17), ..) => &mut self.unicast,
            _ => &mut self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: [u8; 2], protocol: u8, to: [u8; 4]) -> Frame {
        let mut bytes = vec![2; 12];
        bytes.extend(ethertype);
        bytes.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 1, protocol, 0, 0, 10, 77, 0, 1]);
        bytes.extend(to);
        Frame { seen: Duration::new(7, 5000), bytes }
    }

    #[test]
    fn frames_are_sorted_by_kind() {
        let (ip, arp) = ([8, 0], [8, 6]);
        let frames = [
            frame(ip, 17, [239, 255, 0, 1]),
            frame(ip, 17, [10, 77, 0, 255]),
            frame(ip, 17, [10, 77, 0, 11]),
            frame(ip, 6, [10, 77, 0, 11]),
            frame(ip, 2, [224, 0, 0, 22]),
            frame(arp, 0, [0; 4]),
            frame([0x86, 0xdd], 0, [0; 4]),
            Frame { seen: Duration::ZERO, bytes: vec![1; 13] },
        ];
        let kinds = FrameCounts { multicast: 1, broadcast: 1, unicast: 1, tcp: 1, igmp: 1, arp: 1, other: 2 };
        assert_eq!(FrameCounts::of(&frames), kinds);
    }

    #[test]
    fn the_file_has_its_headers() {
        let frames = [frame([8, 0], 17, [239, 255, 0, 1])];
        let file = to_pcap(&frames);
        assert_eq!(&file[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(file[20..24], 1_u32.to_le_bytes());
        assert_eq!(file[24..40], [7, 5, 34, 34].map(u32::to_le_bytes).concat());
        assert_eq!(file.len(), 24 + 16 + 34);
        assert!(!of_a_cable(&[0; 40]) && of_a_cable(&frames[0].bytes));
    }
}
