//! What goes wrong, and how it ends.

use std::time::Duration;

use gaung_proto::Generation;
use rand::Rng as _;

use super::{
    event::Event,
    network::Place,
    settings::{Fault, Target, TimedFault},
    world::Simulation,
};

/// A publisher by datagrams has a listener beside it, which is told.
const LEARNS_WITHIN_US: u64 = 2_000_000;

impl Simulation {
    pub(super) fn begin_fault(&mut self, timed: TimedFault) {
        let world = &mut self.world;
        let over_at = (timed.at + timed.lasts).min(world.settings.heals_at);
        world.queue.put(over_at, Event::FaultOver(timed));
        match timed.fault {
            Fault::RelayCrash => {
                self.relay.crash(world);
                self.members.iter_mut().for_each(|member| member.lanes.break_reading(member.id, world));
            }
            Fault::RelayPause | Fault::RelaySleep | Fault::RelayTakeover => self.relay.pause(world, true),
            Fault::AppendFailure => world.disk.fails_next = true,
            Fault::Trim => world.disk.trim(),
            Fault::ConnectionsBreak => self.relay.break_all_connections(world),
            Fault::HubDown => {
                world.hub.down += 1;
                self.members.iter_mut().for_each(|member| member.lanes.lose_hub(member.id, world));
            }
            Fault::MemberPause(target) | Fault::MemberSleep(target) => {
                self.each(target, |member, world| member.pause(world, true));
            }
            Fault::MemberBusy(target) => self.each(target, |member, world| member.be_busy(world, true)),
            Fault::Deaf(target) => world.network.targets(target).iter_mut().for_each(|link| link.deaf += 1),
            Fault::Mute(target) => world.network.targets(target).iter_mut().for_each(|link| link.mute += 1),
            Fault::NaksLost(target) => world.network.targets(target).iter_mut().for_each(|link| link.naks_lost += 1),
            Fault::ClockJump(target) => self.each(target, |member, world| {
                member.clock.jump(world.now, timed.lasts);
                member.rewind(world);
            }),
            Fault::RelayClockJump => {
                self.relay.clock.monotonic.jump(world.now, timed.lasts);
                self.relay.rewind(world);
            }
            Fault::Move if timed.lasts.is_zero() => self.move_group(),
            Fault::Move => {
                world.place.is_lapsed = true;
                self.relay.handle_place(world);
            }
            Fault::WallClockBack => self.relay.clock.ahead_us -= timed.lasts.as_micros() as i64,
            Fault::WallClockForward => self.relay.clock.ahead_us += timed.lasts.as_micros() as i64,
            Fault::Join(target) => self.each(target, |member, world| member.join(world)),
            Fault::Leave(target) => self.each(target, |member, world| member.leave(world)),
        }
    }

    pub(super) fn end_fault(&mut self, timed: TimedFault) {
        let world = &mut self.world;
        match timed.fault {
            Fault::RelayCrash => {
                if !self.relay.is_served() {
                    self.relay.start(world);
                }
            }
            Fault::RelayPause => self.relay.pause(world, false),
            Fault::RelaySleep => {
                self.relay.slept_since(world, timed.at);
                self.relay.pause(world, false);
            }
            Fault::RelayTakeover => self.relay.take_over(world),
            Fault::Move if !timed.lasts.is_zero() => self.move_group(),
            Fault::HubDown => world.hub.down -= 1,
            Fault::MemberPause(target) => self.each(target, |member, world| member.pause(world, false)),
            Fault::MemberSleep(target) => self.each(target, |member, world| {
                member.clock.stood_still(timed.at, world.now);
                member.pause(world, false);
            }),
            Fault::MemberBusy(target) => self.each(target, |member, world| member.be_busy(world, false)),
            Fault::Deaf(target) => world.network.targets(target).iter_mut().for_each(|link| link.deaf -= 1),
            Fault::Mute(target) => world.network.targets(target).iter_mut().for_each(|link| link.mute -= 1),
            Fault::NaksLost(target) => world.network.targets(target).iter_mut().for_each(|link| link.naks_lost -= 1),
            Fault::AppendFailure
            | Fault::Trim
            | Fault::ConnectionsBreak
            | Fault::ClockJump(_)
            | Fault::RelayClockJump
            | Fault::WallClockBack
            | Fault::WallClockForward
            | Fault::Move
            | Fault::Join(_)
            | Fault::Leave(_) => {}
        }
    }

    fn move_group(&mut self) {
        let publishers = self.publishers();
        let world = &mut self.world;
        let Generation(generation) = world.place.generation;
        world.place = Place { generation: Generation(generation + 1), is_lapsed: false };
        self.relay.handle_place(world);
        for publisher in 0..publishers {
            let after = Duration::from_micros(world.rng.random_range(0..LEARNS_WITHIN_US));
            world.queue.put(world.now + after, Event::PlaceTold { publisher });
        }
    }

    fn each(&mut self, target: Target, mut act: impl FnMut(&mut super::member::Member, &mut super::world::World)) {
        match target {
            Target::One(member) => act(&mut self.members[member], &mut self.world),
            Target::All => self.members.iter_mut().for_each(|member| act(member, &mut self.world)),
        }
    }
}
