#![allow(clippy::unwrap_used)]
use ed25519_dalek::SigningKey;
use gaung_proto::{
    authorship::{self, SeenCheckpoint, SignedContext},
    block::Author,
};

use super::*;

const GROUP: GroupId = GroupId([1; 16]);
const LOG: LogId = LogId(2);
const CLIENT: ClientId = ClientId([3; 16]);

/// A log whose publisher attests its messages.
struct AttestedLog {
    messages: Vec<Message>,
    digest: AttestDigest,
    first: ClientSeq,
}

impl AttestedLog {
    /// Makes a log of `count` messages and their attestation.
    fn of(count: u64) -> Self {
        let mut log = Self { messages: Vec::new(), digest: AttestDigest::default(), first: ClientSeq(1) };
        (0..count).for_each(|n| log.say(&format!("message {n}")));
        log.attest();
        log
    }

    fn say(&mut self, words: &str) {
        let Message { client_seq, content_type, payload, .. } =
            self.push(&Content::text("Sari", words.to_owned())).clone();
        self.digest.add(client_seq, content_type, &payload);
    }

    fn attest(&mut self) {
        let digest = std::mem::take(&mut self.digest);
        let (first, count) = (self.first, digest.count());
        let kind = Kind::Attest { first, count, digest: digest.finish().to_vec().into() };
        let message = self.push(&Content { author_name: String::new(), kind });
        sign(message);
        self.first = ClientSeq(self.messages.len() as u64 + 1);
    }

    fn push(&mut self, content: &Content) -> &mut Message {
        let (content_type, payload) = content.encode();
        let number = self.messages.len() as u64 + 1;
        let author = Author { device: device(), client: CLIENT };
        let sent_at = SentAt(1_000_000);
        self.messages.push(Message {
            seq: Seq(number),
            author,
            client_seq: ClientSeq(number),
            content_type,
            sent_at,
            payload,
        });
        self.messages.last_mut().unwrap()
    }

    /// Numbers the messages anew, as a relay does that changes what it logs.
    fn renumber(&mut self) {
        (1..).zip(&mut self.messages).for_each(|(seq, message)| message.seq = Seq(seq));
    }

    /// Returns the final state of each message for a reader of these messages.
    fn states(&self) -> Vec<AuthorState> {
        states(&mut AuthorVerifier::new(GROUP, LOG), &self.messages)
    }
}

fn states(verifier: &mut AuthorVerifier, messages: &[Message]) -> Vec<AuthorState> {
    let now = Instant::now();
    let mut states: Vec<_> =
        messages.iter().map(|message| (message.seq, verifier.handle_message(now, message))).collect();
    while let Some((seq, state)) = verifier.poll_outcome() {
        states.iter_mut().filter(|(of, _)| *of == seq).for_each(|(_, known)| *known = state);
    }
    states.into_iter().map(|(_, state)| state).collect()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn device() -> DeviceId {
    DeviceId::of_public_key(key().verifying_key().as_bytes())
}

fn sign(message: &mut Message) {
    let context = SignedContext::of(GROUP, LOG, message);
    message.payload = authorship::sign(&key(), &context, &message.payload, SeenCheckpoint::NONE);
}

const SIGNED: fn() -> AuthorState = || AuthorState::Signed(device());

#[test]
fn an_attestation_vouches_for_what_came_before_it() {
    let mut log = AttestedLog::of(5);
    log.say("later");
    let mut expected = vec![SIGNED(); 6];
    expected.push(AuthorState::Pending);
    assert_eq!(log.states(), expected);
    log.attest();
    assert_eq!(log.states(), vec![SIGNED(); 8]);
}

#[test]
fn messages_of_others_and_signed_ones_lie_between() {
    let mut log = AttestedLog::of(0);
    log.messages.clear();
    (log.first, log.digest) = (ClientSeq(1), AttestDigest::default());
    log.say("one");
    log.say("two");
    log.attest();
    let mut other = log.messages[0].clone();
    other.author = Author { device: DeviceId::NONE, client: ClientId([9; 16]) };
    log.messages.insert(1, other);
    let mut own = log.messages[3].clone();
    (own.content_type, own.client_seq) = (ContentType::Text, ClientSeq(4));
    own.payload = Content::text("Sari", "by hand").encode().1;
    sign(&mut own);
    log.messages.insert(3, own);
    log.renumber();
    assert_eq!(log.states(), [SIGNED(), AuthorState::Unsigned, SIGNED(), SIGNED(), SIGNED()]);
}

#[test]
fn a_relay_that_changes_swaps_or_drops_an_attested_message_is_noticed() {
    let broken = |change: &dyn Fn(&mut Vec<Message>)| {
        let mut log = AttestedLog::of(5);
        change(&mut log.messages);
        log.renumber();
        let states = log.states();
        assert_eq!(states.last(), Some(&SIGNED()), "the attestation itself was not touched");
        assert!(states[..states.len() - 1].iter().all(|state| *state == AuthorState::Broken), "{states:?}");
    };
    broken(&|messages| messages[2].payload = Content::text("Sari", "something else").encode().1);
    broken(&|messages| messages[2].author.device = DeviceId([9; 16]));
    broken(&|messages| messages[2].content_type = ContentType::Unknown(77));
    broken(&|messages| drop(messages.remove(2)));
    broken(&|messages| drop(messages.remove(4)));
    broken(&|messages| {
        let (one, two) = (messages[1].payload.clone(), messages[2].payload.clone());
        (messages[1].payload, messages[2].payload) = (two, one);
    });
}

#[test]
fn an_attestation_of_another_group_vouches_for_nothing() {
    let log = AttestedLog::of(3);
    let mut verifier = AuthorVerifier::new(GroupId([2; 16]), LOG);
    let states = states(&mut verifier, &log.messages);
    assert_eq!(states, [AuthorState::Pending, AuthorState::Pending, AuthorState::Pending, AuthorState::Broken]);
}

#[test]
fn who_has_not_read_the_beginning_cannot_tell() {
    let log = AttestedLog::of(5);
    let states_from = |first: usize| states(&mut AuthorVerifier::new(GROUP, LOG), &log.messages[first..]);
    assert_eq!(states_from(2)[..3], [AuthorState::Unsigned; 3]);
    let mut verifier = AuthorVerifier::new(GROUP, LOG);
    states(&mut verifier, &log.messages[..2]);
    // The third is lost.
    assert_eq!(states(&mut verifier, &log.messages[3..])[..2], [AuthorState::Unsigned; 2]);
}

#[test]
fn what_is_not_attested_in_time_is_unsigned() {
    let log = AttestedLog::of(3);
    let mut verifier = AuthorVerifier::new(GROUP, LOG);
    let now = Instant::now();
    assert_eq!(verifier.handle_message(now, &log.messages[0]), AuthorState::Pending);
    let due = verifier.poll_timeout().unwrap();
    assert_eq!(due, now + Duration::from_secs(5));
    verifier.handle_timeout(due);
    assert_eq!(verifier.poll_outcome(), Some((Seq(1), AuthorState::Unsigned)));
    // A log that is read later says by its times that nothing can follow.
    let mut verifier = AuthorVerifier::new(GROUP, LOG);
    let mut late = log.messages[1].clone();
    late.sent_at = SentAt(1_000_000 + 5_000_000);
    verifier.handle_message(now, &log.messages[0]);
    verifier.handle_message(now, &late);
    assert_eq!(verifier.poll_outcome(), Some((Seq(1), AuthorState::Unsigned)));
}

#[test]
fn memory_is_bounded() {
    let mut verifier = AuthorVerifier::new(GROUP, LOG);
    let template = AttestedLog::of(1).messages[0].clone();
    let now = Instant::now();
    for number in 0..(2 * MAX_PENDING as u64) {
        let client = ClientId(u128::from(number % 10_000).to_be_bytes());
        let author = Author { client, ..template.author };
        verifier.handle_message(
            now,
            &Message { seq: Seq(number), author, client_seq: ClientSeq(number), ..template.clone() },
        );
        while verifier.poll_outcome().is_some() {}
    }
    let pending: usize = verifier.streams.values().map(|stream| stream.pending.len()).sum();
    assert!(pending <= MAX_PENDING && verifier.arrivals.len() <= MAX_PENDING, "{pending}");
    let large = Message { payload: vec![0; 256 * 1024].into(), ..template };
    for number in 0..200 {
        verifier.handle_message(now, &Message { seq: Seq(1_000_000 + number), ..large.clone() });
    }
    assert!(verifier.pending_bytes <= MAX_PENDING_BYTES);
}
