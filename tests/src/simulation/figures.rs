//! Counts what members lost, asked for and were sent again.
//!
//! A *sending* is one datagram to the group that carries messages or repairs them: DATA, first or again, or PARITY. It
//! is *lost* by a member that was there, could have used it, and was not reached by it: DATA if it had not got that
//! datagram by any sending before, PARITY if it lacks a datagram of the block. A *loss event* is a sending that at least
//! one member lost. `lost_bytes` are the bytes of sendings that were lost, each counted once however many lost it;
//! `shared_lost_bytes` those of sendings that two or more lost. `repair_bytes` are the bytes of everything that was sent
//! to repair, to the group or to one member; `shared_repair_bytes` those of DATA sent again, to the group or to one member,
//! while the last sending of it was lost by two or more.

use std::collections::BTreeMap;

use bytes::Bytes;
use gaung_proto::{
    body::Parity,
    datagram::{Header, PacketType, flags},
};

/// What repair cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// First-sent DATA.
    pub data: u64,
    /// See above.
    pub loss_events: u64,
    /// NAKs that members sent.
    pub naks: u64,
    /// See above.
    pub lost_bytes: u64,
    /// See above.
    pub repair_bytes: u64,
    /// See above.
    pub shared_lost_bytes: u64,
    /// See above.
    pub shared_repair_bytes: u64,
    /// PARITY sent.
    pub parities: u64,
}

impl Figures {
    /// NAKs of all members together for one loss event.
    #[must_use]
    pub fn naks_per_loss(&self) -> f64 {
        self.naks as f64 / self.loss_events.max(1) as f64
    }

    /// Repair bytes for each byte that was lost.
    #[must_use]
    pub fn repair_ratio(&self) -> f64 {
        self.repair_bytes as f64 / self.lost_bytes.max(1) as f64
    }

    /// The same of what two or more members lost.
    #[must_use]
    pub fn shared_repair_ratio(&self) -> f64 {
        self.shared_repair_bytes as f64 / self.shared_lost_bytes.max(1) as f64
    }
}

/// Keeps for each datagram who has got it.
#[derive(Debug, Default)]
pub(super) struct Bookkeeping {
    pub(super) naks: u64,
    figures: Figures,
    datagrams: BTreeMap<Key, Spread>,
    /// First-sent DATA by epoch and pkt.
    by_pkt: BTreeMap<(u32, u32), Key>,
    /// By epoch and first pkt of a block, how many shards of parity each member has got.
    shards: BTreeMap<(u32, u32), Vec<u32>>,
    members: usize,
}

/// Seq and fragment: what repair is keyed by.
type Key = (u64, u16);

#[derive(Debug)]
struct Spread {
    /// By member: was there, and has not got it.
    lacks: Vec<bool>,
    /// Two or more lost the last sending of it.
    is_shared: bool,
}

/// A datagram on its way to the group.
#[derive(Debug, Default)]
pub(super) struct Sending {
    what: What,
    bytes: u64,
    lost: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum What {
    #[default]
    Other,
    First(Key),
    Again(Key),
    Parity {
        epoch: u32,
        first_pkt: u32,
        count: u8,
    },
}

impl Bookkeeping {
    pub(super) fn new(members: usize) -> Self {
        Self { members, ..Self::default() }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures { naks: self.naks, ..self.figures }
    }

    /// The relay sends to the group.
    pub(super) fn begin(&mut self, bytes: &Bytes) -> Sending {
        let Ok((header, body)) = Header::decode(bytes) else { return Sending::default() };
        let what = self.what(&header, body);
        if let What::First(key) = what {
            self.figures.data += 1;
            self.by_pkt.insert((header.epoch.0, header.pkt.0), key);
            self.datagrams.insert(key, Spread { lacks: vec![false; self.members], is_shared: false });
        }
        Sending { what, bytes: bytes.len() as u64, lost: 0 }
    }

    pub(super) fn outcome(&mut self, sending: &mut Sending, member: usize, arrives: bool) {
        let is_lost = match sending.what {
            What::Other => return,
            What::First(key) => {
                let Some(spread) = self.datagrams.get_mut(&key) else { return };
                spread.lacks[member] = !arrives;
                !arrives
            }
            What::Again(key) => {
                let Some(spread) = self.datagrams.get_mut(&key) else { return };
                spread.lacks[member] &= !arrives;
                spread.lacks[member]
            }
            What::Parity { epoch, first_pkt, count } => {
                let lacked = self.lacking(epoch, first_pkt, count, member);
                if arrives && !lacked.is_empty() {
                    let shards = self.shards.entry((epoch, first_pkt)).or_insert_with(|| vec![0; self.members]);
                    shards[member] += 1;
                    if shards[member] as usize >= lacked.len() {
                        for key in &lacked {
                            self.set_got(*key, member);
                        }
                    }
                }
                !lacked.is_empty() && !arrives
            }
        };
        sending.lost += u32::from(is_lost);
    }

    pub(super) fn end(&mut self, sending: &Sending) {
        let (bytes, figures) = (sending.bytes, &mut self.figures);
        match sending.what {
            What::Other => return,
            What::First(_) => {}
            What::Again(_) => figures.repair_bytes += bytes,
            What::Parity { .. } => {
                figures.repair_bytes += bytes;
                figures.parities += 1;
            }
        }
        if sending.lost > 0 {
            figures.loss_events += 1;
            figures.lost_bytes += bytes;
        }
        let (What::First(key) | What::Again(key)) = sending.what else { return };
        let Some(spread) = self.datagrams.get_mut(&key) else { return };
        if spread.is_shared && sending.what == What::Again(key) {
            figures.shared_repair_bytes += bytes;
        }
        spread.is_shared = sending.lost > 1;
        if spread.is_shared {
            figures.shared_lost_bytes += bytes;
        }
    }

    /// The relay sends to one member.
    pub(super) fn sent_to(&mut self, member: usize, bytes: &Bytes, arrives: bool) {
        let Ok((header, body)) = Header::decode(bytes) else { return };
        let What::Again(key) = self.what(&header, body) else { return };
        let Some(spread) = self.datagrams.get_mut(&key) else { return };
        let length = bytes.len() as u64;
        self.figures.repair_bytes += length;
        if spread.is_shared {
            self.figures.shared_repair_bytes += length;
        }
        if spread.lacks[member] && !arrives {
            self.figures.loss_events += 1;
            self.figures.lost_bytes += length;
        }
        spread.lacks[member] &= !arrives;
    }

    fn what(&self, header: &Header, body: &[u8]) -> What {
        let key = (header.seq.0, header.fragment.index);
        match header.packet_type {
            PacketType::Data if header.has(flags::REPAIR) => What::Again(key),
            PacketType::Data => What::First(key),
            PacketType::Parity => Parity::decode(body).map_or(What::Other, |parity| What::Parity {
                epoch: header.epoch.0,
                first_pkt: parity.first_pkt.0,
                count: parity.k,
            }),
            PacketType::Heartbeat
            | PacketType::Nak
            | PacketType::Ncf
            | PacketType::Status
            | PacketType::Probe
            | PacketType::Migrate
            | PacketType::Publish
            | PacketType::Puback
            | PacketType::Broadcast => What::Other,
        }
    }

    fn set_got(&mut self, key: Key, member: usize) {
        if let Some(spread) = self.datagrams.get_mut(&key) {
            spread.lacks[member] = false;
        }
    }

    /// What a member lacks of a block.
    fn lacking(&self, epoch: u32, first_pkt: u32, count: u8, member: usize) -> Vec<Key> {
        let block = self.by_pkt.range((epoch, first_pkt)..(epoch, first_pkt + u32::from(count)));
        block.map(|(_, key)| *key).filter(|key| self.datagrams[key].lacks[member]).collect()
    }
}
