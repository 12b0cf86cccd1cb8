#![allow(clippy::unwrap_used)]

use gaung_tests::load::{
    dialect::{
        Dialect, Heard, Role, Speaker,
        scan_check::{scan_whole_and_split, stamped_message, stamped_payload},
    },
    stamp::Stamp,
};

use super::{Mqtt, Nats, Redis};

const LISTENER: Role = Role::Listener { group: 0, from_seq: 0 };

#[test]
fn nats() {
    let dialect = Nats { acknowledged: true };
    let mut bytes = b"INFO {\"version\":\"2\"}\r\nPONG\r\nPING\r\n".to_vec();
    for number in [1, 300] {
        bytes.extend_from_slice(&[b"MSG g12 1 40\r\n", &stamped_payload(number)[..], b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"MSG a3 2 27\r\n{\"stream\":\"d\", \"seq\":14400}\r\n");
    let expected =
        [Heard::Ready, Heard::Ask(b"PONG\r\n"), stamped_message(1, 0), stamped_message(300, 0), Heard::Taken(1)];
    assert_eq!(scan_whole_and_split(&dialect, LISTENER, &bytes), expected);
    let refusal = b"MSG a3 2 29\r\n{\"error\":{\"code\":503}, \"x\":1}\r\n";
    assert!(dialect.scan(Role::Speaker, refusal, &mut |_| ()).unwrap_err().to_string().contains("503"));
}

#[test]
fn redis() {
    let dialect = Redis { kept: true };
    let mut bytes = b"*3\r\n$9\r\nsubscribe\r\n$2\r\ng0\r\n:1\r\n".to_vec();
    bytes
        .extend_from_slice(&[b"*3\r\n$7\r\nmessage\r\n$2\r\ng0\r\n$40\r\n", &stamped_payload(5)[..], b"\r\n"].concat());
    assert_eq!(scan_whole_and_split(&dialect, LISTENER, &bytes), [Heard::Ready, stamped_message(5, 0)]);
    let answers = b"+PONG\r\n:64\r\n$15\r\n1792400000000-0\r\n";
    assert_eq!(
        scan_whole_and_split(&dialect, Role::Speaker, answers),
        [Heard::Ready, Heard::Taken(1), Heard::Taken(1)]
    );
    assert!(dialect.scan(Role::Speaker, b"-ERR no\r\n", &mut |_| ()).unwrap_err().to_string().contains("-ERR no"));
}

#[test]
fn mqtt() {
    let mut bytes = vec![0x20, 2, 0, 0, 0x90, 3, 0, 1, 0];
    let speaker = Speaker { index: 0, group: 0, said: 0, size: 200 };
    // A server passes a publish on as it came.
    Mqtt.publish(speaker, &mut [Stamp { number: 9, due_ns: 7 }].into_iter(), &mut bytes);
    assert_eq!(scan_whole_and_split(&Mqtt, LISTENER, &bytes), [Heard::Ready, stamped_message(9, 0)]);
    assert_eq!(scan_whole_and_split(&Mqtt, Role::Speaker, &bytes[..4]), [Heard::Ready]);
}
