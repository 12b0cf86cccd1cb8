//! A device's secret key, encrypted with a passphrase.

use std::{fmt, str::FromStr};

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::HEXLOWER;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

/// The first words of the text.
const KIND: &str = "gaung-key-2 argon2id";
/// Longest text read, bytes; the longest valid one has 194.
const MAX_TEXT: usize = 256;
/// Longest passphrase, bytes.
const MAX_PASSPHRASE: usize = 1024;
/// Memory of Argon2 for a new key, KiB; with [`PASSES`] the second choice of RFC 9106, section 4, for machines with little memory.
const MEMORY_KIB: u32 = 65_536;
/// Passes of Argon2 over its memory for a new key.
const PASSES: u32 = 3;
/// Threads of Argon2 for a new key. One: a guesser has more of them than a phone has.
const LANES: u32 = 1;
/// The most that a key which somebody else wrote may demand: a quarter of a gibibyte, and seconds.
const MAX_COST: (u32, u32, u32) = (4 * MEMORY_KIB, 16, 16);

/// The text is no protected key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no key that a passphrase protects")]
pub struct MalformedKey;

/// The key was not decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is wrong, or the key was changed")]
pub struct UnlockError;

/// The passphrase is empty or longer than 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a passphrase has 1 to {MAX_PASSPHRASE} bytes")]
pub struct PassphraseError;

/// What a person protects a key with, 1 to 1024 bytes. Its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the bytes as they were typed.
    ///
    /// # Errors
    /// [`PassphraseError`] for none or too many.
    pub fn new(typed: impl Into<Zeroizing<Vec<u8>>>) -> Result<Self, PassphraseError> {
        let typed = typed.into();
        if typed.is_empty() || typed.len() > MAX_PASSPHRASE {
            return Err(PassphraseError);
        }
        Ok(Self(typed))
    }
}

impl PartialEq for Passphrase {
    /// Compares two passphrases that one person typed; takes a different time for different ones.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// A device's secret key, encrypted with a passphrase: ChaCha20-Poly1305 (RFC 8439) under a key that Argon2id (RFC 9106) makes of
/// the passphrase and a salt. The salt is drawn anew for each encryption, so no key is used twice. The text is one line:
///
/// ```text
/// gaung-key-2 argon2id m=65536 t=3 p=1 SALT NONCE CIPHERTEXT
/// ```
///
/// m is Argon2's memory in KiB, t its passes, p its threads. SALT (16 bytes), NONCE (12) and CIPHERTEXT (32 and the tag of 16) are
/// lower-case hexadecimal. What stands before CIPHERTEXT is authenticated with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedKey {
    cost: Params,
    salt: [u8; 16],
    nonce: [u8; 12],
    ciphertext: [u8; 48],
}

impl ProtectedKey {
    /// Encrypts a secret key. Takes a fifth of a second and 64 MiB.
    ///
    /// # Errors
    /// If the system's random generator fails.
    pub fn encrypt(secret: &[u8; 32], passphrase: &Passphrase) -> std::io::Result<Self> {
        let cost = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the cost is within Argon2's limits");
        Self::encrypt_at(cost, secret, passphrase)
    }

    fn encrypt_at(cost: Params, secret: &[u8; 32], passphrase: &Passphrase) -> std::io::Result<Self> {
        let (mut salt, mut nonce) = ([0; 16], [0; 12]);
        let random = SystemRandom::new();
        random
            .fill(&mut salt)
            .and_then(|()| random.fill(&mut nonce))
            .map_err(|_| std::io::Error::other("the system's random generator failed"))?;
        let mut this = Self { cost, salt, nonce, ciphertext: [0; 48] };
        let mut text = Zeroizing::new(*secret);
        let tag = this
            .cipher(passphrase)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(this.head()), &mut *text)
            .expect("32 bytes are within the cipher's limit");
        this.ciphertext[..32].copy_from_slice(&*text);
        this.ciphertext[32..].copy_from_slice(tag.as_ref());
        Ok(this)
    }

    /// Decrypts the secret key. Takes as long as [`Self::encrypt`] unless the text demands more.
    ///
    /// # Errors
    /// [`UnlockError`] for another passphrase or changed bytes; the two cannot be told apart.
    pub fn decrypt(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, UnlockError> {
        let mut bytes = Zeroizing::new(self.ciphertext);
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let text = self.cipher(passphrase).open_in_place(nonce, Aad::from(self.head()), &mut *bytes);
        let secret = text.map_err(|_| UnlockError)?.first_chunk().ok_or(UnlockError)?;
        Ok(Zeroizing::new(*secret))
    }

    fn cipher(&self, passphrase: &Passphrase) -> LessSafeKey {
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.cost.clone())
            .hash_password_into(&passphrase.0, &self.salt, &mut *key)
            .expect("passphrase, salt and key have lengths that Argon2 takes");
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("the cipher's keys have 32 bytes"))
    }

    /// Returns the text before the ciphertext.
    fn head(&self) -> String {
        let cost = format!("m={} t={} p={}", self.cost.m_cost(), self.cost.t_cost(), self.cost.p_cost());
        format!("{KIND} {cost} {} {} ", HEXLOWER.encode(&self.salt), HEXLOWER.encode(&self.nonce))
    }
}

impl fmt::Display for ProtectedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.head(), HEXLOWER.encode(&self.ciphertext))
    }
}

impl FromStr for ProtectedKey {
    type Err = MalformedKey;

    /// Reads one line without its end.
    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        if text.len() > MAX_TEXT {
            return Err(MalformedKey);
        }
        let key = parse(text).ok_or(MalformedKey)?;
        // Numbers with leading zeros and the like would not be authenticated as they stand.
        if key.to_string() == text { Ok(key) } else { Err(MalformedKey) }
    }
}

fn parse(text: &str) -> Option<ProtectedKey> {
    let mut words = text.strip_prefix(KIND)?.strip_prefix(' ')?.split(' ');
    let mut number = |name: &str| words.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let (memory, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    if memory > MAX_COST.0 || passes > MAX_COST.1 || lanes > MAX_COST.2 {
        return None;
    }
    let cost = Params::new(memory, passes, lanes, None).ok()?;
    let (salt, nonce, ciphertext) = (bytes(words.next()?)?, bytes(words.next()?)?, bytes(words.next()?)?);
    Some(ProtectedKey { cost, salt, nonce, ciphertext })
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The least that Argon2 takes, so that many decryptions fit a test.
    fn cheap() -> Params {
        Params::new(8, 1, 1, None).unwrap()
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_new_key_costs_what_is_documented_and_opens_by_its_passphrase_alone() {
        let key = ProtectedKey::encrypt(&[7; 32], &passphrase("kunci rumah")).unwrap();
        let text = key.to_string();
        assert!(text.starts_with("gaung-key-2 argon2id m=65536 t=3 p=1 "), "{text}");
        assert!(text.len() <= MAX_TEXT && !text.contains(&HEXLOWER.encode(&[7; 32])));
        let read: ProtectedKey = text.parse().unwrap();
        assert_eq!(*read.decrypt(&passphrase("kunci rumah")).unwrap(), [7; 32]);
        assert_eq!(read.decrypt(&passphrase("kunci rumah ")), Err(UnlockError));
    }

    /// Made with OpenSSL's Argon2id and ChaCha20-Poly1305.
    #[test]
    fn a_key_of_another_program_opens() {
        let text = "gaung-key-2 argon2id m=256 t=2 p=2 101112131415161718191a1b1c1d1e1f 303132333435363738393a3b \
            13d0da8b7b95ea92cf9d1aad593464f33cec2648f9dd9aa4925273d88435ab83d23878459b8c46bb6290257e1d80bfff";
        let key: ProtectedKey = text.parse().unwrap();
        let secret: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(*key.decrypt(&passphrase("kunci rumah")).unwrap(), secret);
    }

    #[test]
    fn no_two_encryptions_are_alike() {
        let encrypt = || ProtectedKey::encrypt_at(cheap(), &[7; 32], &passphrase("x")).unwrap();
        let (one, other) = (encrypt(), encrypt());
        assert_ne!((one.salt, one.nonce, one.ciphertext), (other.salt, other.nonce, other.ciphertext));
        assert_ne!(one.salt, other.salt);
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let text = ProtectedKey::encrypt_at(cheap(), &[7; 32], &passphrase("x")).unwrap().to_string();
        for at in 0..text.len() {
            for other in ["0", "1", "f", "F", " ", "~"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, other);
                if changed != text {
                    let opened = changed.parse::<ProtectedKey>().map(|key| key.decrypt(&passphrase("x")));
                    assert!(matches!(opened, Err(MalformedKey) | Ok(Err(UnlockError))), "{at} {changed}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_or_costs_too_much_is_refused_unopened() {
        let tail = format!("{} {} {}", "00".repeat(16), "00".repeat(12), "00".repeat(48));
        let line = |cost: &str| format!("gaung-key-2 argon2id {cost} {tail}");
        line("m=262144 t=16 p=16").parse::<ProtectedKey>().unwrap();
        for cost in ["m=262145 t=3 p=1", "m=65536 t=17 p=1", "m=65536 t=3 p=17", "m=7 t=3 p=1", "m=65536 t=0 p=1"] {
            assert_eq!(line(cost).parse::<ProtectedKey>(), Err(MalformedKey), "{cost}");
        }
        for cost in
            ["m=+65536 t=3 p=1", "m=065536 t=3 p=1", "t=3 m=65536 p=1", "m=65536  t=3 p=1", "m=99999999999 t=3 p=1"]
        {
            assert_eq!(line(cost).parse::<ProtectedKey>(), Err(MalformedKey), "{cost}");
        }
        let good = line("m=65536 t=3 p=1");
        for text in [
            "",
            "gaung-key-2",
            &good[..good.len() - 1],
            &format!("{good} "),
            &format!("{good} 00"),
            &format!("{good}\n"),
        ] {
            assert_eq!(text.parse::<ProtectedKey>(), Err(MalformedKey), "{text:?}");
        }
    }

    #[test]
    fn a_passphrase_has_a_length_and_is_shown_nowhere() {
        assert!(Passphrase::new(Vec::new()).is_err() && Passphrase::new(vec![b'x'; 1025]).is_err());
        let kept = Passphrase::new(vec![b'x'; 1024]).unwrap();
        assert!(!format!("{kept:?}").contains('x'));
    }
}
