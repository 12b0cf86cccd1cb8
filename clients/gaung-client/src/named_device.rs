//! Finds the device that a person names.

use std::collections::BTreeSet;

use gaung_proto::DeviceId;

use crate::{error::ClientError, group::Member};

/// Fewest digits that name a device, so that a member's name is rarely taken for one.
const MIN_DIGITS: usize = 4;

/// Most devices that an error lists: any number of members may take the same name.
const MAX_CANDIDATES: usize = 8;

/// A device that somebody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDevice {
    /// The name under which it is a member, as its owner wrote it; `None` if it is no member.
    pub name: Option<String>,
    /// The device.
    pub device: DeviceId,
}

/// Finds the device that `who` names among members and other known devices; see [`Client::named_device`](crate::Client::named_device).
pub(crate) fn find(who: &str, members: &[Member], known: &BTreeSet<DeviceId>) -> Result<NamedDevice, ClientError> {
    let digits = who.to_ascii_lowercase();
    let begins = |device: &DeviceId, own: &str| own.len() >= MIN_DIGITS && device.to_string().starts_with(own);
    let is_named = |member: &&Member| {
        let shown_apart = who.rsplit_once('·');
        member.name == who || shown_apart.is_some_and(|(name, own)| member.name == name && begins(&member.device, own))
    };
    let by_name = members.iter().filter(is_named).map(|member| &member.device);
    let by_digits = known.iter().filter(|device| begins(device, &digits));
    let found: BTreeSet<DeviceId> = by_name.chain(by_digits).copied().filter(|device| !device.is_none()).collect();
    let device = match (found.len(), digits.parse()) {
        (1, _) => found.first().copied(),
        (0, Ok(device)) => Some(device),
        (0, Err(_)) => {
            let message = format!("nobody in the group is called {who}, and no device there begins with it");
            return Err(ClientError::NotFound(message));
        }
        (_, _) => None,
    };
    let Some(device) = device else {
        let devices: Vec<_> = found.iter().take(MAX_CANDIDATES).map(ToString::to_string).collect();
        return Err(ClientError::Usage(format!("{who} may be several devices, choose one: {}", devices.join(", "))));
    };
    let member = members.iter().find(|member| member.device == device);
    Ok(NamedDevice { name: member.map(|member| member.name.clone()), device })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(name: &str, device: u8) -> Member {
        let device = DeviceId([device; 16]);
        Member { device, name: name.to_owned(), present: true, lane: String::new(), joined_unix_ms: 0 }
    }

    #[test]
    fn a_device_is_named_by_a_name_or_by_digits_and_never_by_chance() {
        let members = [member("Budi", 0xab), member("Budi", 0xcd), member("Citra", 0xce), member("abab", 0x11)];
        let known: BTreeSet<_> = members.iter().map(|member| member.device).chain([DeviceId([0xef; 16])]).collect();
        let device = |who: &str| find(who, &members, &known).map(|person| person.device.0[0]);
        assert_eq!(device("Citra").unwrap(), 0xce);
        assert_eq!(device("CDCD").unwrap(), 0xcd);
        assert_eq!(device("Budi·cdcd").unwrap(), 0xcd);
        assert_eq!(device("efef").unwrap(), 0xef, "a banned device is no member");
        assert_eq!(device(&"77".repeat(16)).unwrap(), 0x77, "a device that is not known yet");
        assert!(device("Budi").unwrap_err().to_string().contains("several"));
        assert!(device("abab").unwrap_err().to_string().contains("several"), "a name, and another's digits");
        for unknown in ["Dewi", "ef", "efee", "Budi·cece", "Budi·cd"] {
            assert!(device(unknown).unwrap_err().to_string().contains("nobody"), "{unknown}");
        }
    }
}
