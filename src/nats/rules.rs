//! The talk, rule by rule: what is said to what a server says, and what is told.

use core::time::Duration;

use super::answer::tests::{MESSAGE, STREAM_INFO};
use super::credentials::Credentials;
use super::session::{Event, Wanted};
use super::trouble::{Trouble, Unfit};
use super::{Lines, Position, Segment, Session, Settings, Tls};

const INFO: &str = "INFO {\"server_name\":\"n1\",\"version\":\"2.14.0\",\"headers\":true,\"max_payload\":1048576} \r\n";
const NONE: &str = r#"{"type":"x","error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
/// The segment in [`MESSAGE`], which holds lines 21 to 30 and has the sequence 3.
const SEGMENT: Segment = Segment { first: 1, salt: [0xab; 16] };
/// Its own is how a session starts anew.
const ACKED: Position = Position { acked: 30, sequence: 3, segment: SEGMENT };

fn error(code: u32, said: &str) -> String {
    format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"{said}"}},"stream":"LOGS","seq":0}}"#)
}

fn ack(sequence: u64) -> String {
    format!(r#"{{"stream":"LOGS","seq":{sequence}}}"#)
}

fn settings(position: Option<Position>) -> Settings {
    Settings {
        stream: "LOGS".to_owned(),
        subject: "logs.a".to_owned(),
        client: "web1".to_owned(),
        position,
        ..Settings::default()
    }
}

/// A session whose other side is the test.
struct Talk {
    session: Session,
    now: Duration,
    knows: bool,
    asked: Vec<Lines>,
    /// What was sent since that was looked at last.
    sent: String,
    /// Where the last question or batch wants its answer.
    reply: String,
}

impl Talk {
    fn new(settings: Settings) -> Self {
        let session = Session::new(settings);
        Self { session, now: Duration::ZERO, knows: true, asked: Vec::new(), sent: String::new(), reply: String::new() }
    }

    /// One that was let in, and has asked for the stream.
    fn greeted(settings: Settings) -> Self {
        let mut talk = Self::new(settings);
        talk.session.connected([0x1f; 12], talk.now);
        talk.hear(INFO);
        talk.hear("PONG\r\n");
        talk
    }

    /// One that has looked up that `last` is the last message.
    fn looked_up(position: Option<Position>, last: &str) -> Self {
        let mut talk = Self::greeted(settings(position));
        talk.answer(STREAM_INFO);
        talk.answer(last);
        talk
    }

    /// One that may publish.
    fn ready() -> Self {
        let mut talk = Self::looked_up(Some(ACKED), MESSAGE);
        assert!(matches!(talk.events()[..], [Event::Ready(_)]));
        talk
    }

    /// One with lines 31 to 35 in flight.
    fn publishing() -> Self {
        let mut talk = Self::ready();
        talk.publish(31, 35);
        talk
    }

    fn hear(&mut self, text: &str) {
        let (knows, asked) = (self.knows, &mut self.asked);
        self.session.receive(text.as_bytes(), self.now, &mut |lines| {
            asked.push(*lines);
            knows
        });
        self.send();
    }

    fn send(&mut self) {
        let bytes = self.session.unsent().concat();
        self.session.sent(bytes.len(), self.now);
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines().filter(|line| line.starts_with("PUB") || line.starts_with("HPUB")) {
            self.reply = line.split(' ').nth(2).unwrap().to_owned();
        }
        self.sent.push_str(&text);
    }

    fn answer(&mut self, body: &str) {
        let text = format!("MSG {} 1 {}\r\n{body}\r\n", self.reply, body.len());
        self.hear(&text);
    }

    fn publish(&mut self, first: u64, last: u64) {
        self.session.publish(Lines { first, last, segment: SEGMENT }, b"one\ntwo".to_vec(), self.now);
        self.send();
    }

    /// Lets time pass until something is due, and gives how long that was in milliseconds.
    fn due(&mut self) -> u128 {
        let due = self.session.due_in(self.now).unwrap();
        self.now += due;
        self.session.tick(self.now);
        self.send();
        due.as_millis()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.next_event()).collect()
    }

    /// The one thing that was told to be wrong.
    fn trouble(&mut self) -> Trouble {
        match self.events().as_slice() {
            [Event::Trouble(trouble)] | [Event::Trouble(trouble), Event::Close { .. }] => trouble.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What was sent since this was asked last.
    fn said(&mut self) -> String {
        std::mem::take(&mut self.sent)
    }

    fn state(&self) -> &'static str {
        self.session.status().state
    }

    fn from(&self) -> Option<u64> {
        self.session.wants().map(|wanted| wanted.from)
    }
}

#[test]
fn n1_nothing_is_published_before_the_stream_was_looked_at() {
    let mut talk = Talk::new(settings(None));
    talk.session.connected([0x1f; 12], talk.now);
    assert_eq!(talk.session.wants(), None);
    talk.hear(INFO);
    let said = talk.said();
    assert!(said.starts_with(
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"echo\":false,"
    ));
    assert!(said.ends_with("\"name\":\"web1\"}\r\nPING\r\nSUB _INBOX.1f1f1f1f1f1f1f1f1f1f1f1f.* 1\r\n"), "{said}");
    talk.hear("PONG\r\n");
    // A server tells of itself again once it has let us in.
    talk.hear(INFO);
    assert_eq!(talk.said(), "PUB $JS.API.STREAM.INFO.LOGS _INBOX.1f1f1f1f1f1f1f1f1f1f1f1f.1 0\r\n\r\n");
    talk.answer(STREAM_INFO);
    assert_eq!(
        talk.said(),
        "PUB $JS.API.STREAM.MSG.GET.LOGS _INBOX.1f1f1f1f1f1f1f1f1f1f1f1f.2 25\r\n{\"last_by_subj\":\"logs.a\"}\r\n"
    );
    assert_eq!(talk.session.wants(), None);
    talk.answer(NONE);
    assert_eq!(talk.from(), Some(1));
    talk.publish(1, 9);
    let said = talk.said();
    let (head, rest) = said.split_once("\r\n").unwrap();
    let (headers, payload) = rest.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        head,
        format!("HPUB logs.a _INBOX.1f1f1f1f1f1f1f1f1f1f1f1f.3 {} {}", headers.len() + 4, headers.len() + 4 + 7)
    );
    let wanted = [
        "NATS/1.0",
        "Nats-Expected-Last-Subject-Sequence: 0",
        "Nats-Expected-Stream: LOGS",
        "Lumberjack-Box: 00000000000000000000000000000000",
        "Lumberjack-Lines: 1-9",
        "Lumberjack-Segment: 1-abababababababababababababababab",
    ];
    assert_eq!(headers.lines().collect::<Vec<_>>(), wanted);
    assert_eq!(payload, "one\ntwo\r\n");
    assert_eq!(talk.session.wants(), None, "one batch at a time");
    talk.answer(&ack(1));
    assert_eq!(talk.from(), Some(10));
}

#[test]
fn n1_what_the_last_message_says_decides_where_it_goes_on() {
    let place = |acked, sequence| Some(Position { acked, sequence, segment: SEGMENT });
    // Position, what is told at once, where it goes on, with which sequence.
    for (position, told, from) in [
        (None, Some(30), 31),
        (place(30, 3), None, 31),
        // An ack was lost, or the position on the disk is older.
        (place(20, 2), Some(30), 31),
        (place(25, 2), Some(30), 31),
        // The same message has another sequence: the stream was put back from somewhere.
        (place(30, 7), Some(30), 31),
        // It has lost lines that it had acked. That is not told yet: an old leader may have answered.
        (place(50, 5), None, 31),
    ] {
        let mut talk = Talk::looked_up(position, MESSAGE);
        let events = talk.events();
        let acked = events.iter().find_map(|event| match event {
            Event::Found(position) => Some((position.acked, position.sequence)),
            _ => None,
        });
        assert_eq!(acked, told.map(|line| (line, 3)), "{position:?}");
        assert_eq!(talk.from(), Some(from), "{position:?}");
        talk.said();
        talk.publish(from, from + 4);
        assert!(talk.said().contains("Nats-Expected-Last-Subject-Sequence: 3\r\n"));
    }
}

#[test]
fn n2_a_tail_that_was_lost_is_sent_again_and_told_with_the_next_ack() {
    let mut talk = Talk::looked_up(Some(Position { acked: 50, sequence: 5, segment: SEGMENT }), MESSAGE);
    assert_eq!((talk.from(), talk.session.needed()), (Some(31), 31));
    talk.events();
    talk.publish(31, 40);
    assert_eq!(talk.events(), []);
    // Looked up once more before the ack, it is as it was.
    talk.answer(&error(10008, "wait"));
    talk.due();
    talk.answer(STREAM_INFO);
    talk.answer(MESSAGE);
    talk.events();
    talk.publish(31, 40);
    talk.answer(&ack(4));
    let position = Position { acked: 40, sequence: 4, segment: SEGMENT };
    assert_eq!(talk.events(), [Event::Rewound { first: 31, last: 50 }, Event::Acked(position)]);
    assert_eq!((talk.from(), talk.session.status().rewinds_total), (Some(41), 1));
    assert!(talk.session.is_urgent() && !talk.session.is_urgent(), "the position before is of a message that is gone");
    talk.publish(41, 50);
    talk.answer(&ack(5));
    assert_eq!((talk.events().len(), talk.session.is_urgent()), (1, false), "told once");
}

#[test]
fn n2_an_old_leader_s_answer_is_no_loss_and_one_that_was_mended_unseen_is_written_down() {
    // An old leader has told of less than there is.
    for (sequence, is_urgent) in [(5, false), (6, true)] {
        let acked = Position { acked: 30, sequence: 5, segment: SEGMENT };
        let mut talk = Talk::looked_up(Some(Position { acked: 50, ..acked }), MESSAGE);
        talk.events();
        talk.publish(31, 50);
        talk.answer(&error(10071, "wrong last sequence: 5"));
        talk.due();
        // Then the right one answers: with what was acked, or with our batch of now.
        let lines = MESSAGE.replace("pbmVzOiAyMS0zMA0KT", "pbmVzOiAzMS01MA0KT");
        talk.answer(&lines.replace("\"seq\":3", &format!("\"seq\":{sequence}")));
        let found = Event::Found(Position { acked: 50, sequence, segment: SEGMENT });
        assert_eq!(talk.events(), if is_urgent { vec![found] } else { vec![] });
        assert_eq!((talk.from(), talk.session.is_urgent()), (Some(51), is_urgent));
    }
}

#[test]
fn n2_a_later_message_with_fewer_lines_tells_of_a_loss_for_certain() {
    let mut talk = Talk::looked_up(Some(Position { acked: 50, sequence: 2, segment: SEGMENT }), MESSAGE);
    let events = talk.events();
    assert_eq!(events[..2], [Event::Rewound { first: 31, last: 50 }, Event::Found(ACKED)]);
    assert_eq!((talk.from(), talk.session.status().rewinds_total), (Some(31), 1));
}

#[test]
fn n2_where_no_message_of_ours_is_there_it_is_asked_whether_the_tail_was_lost_or_the_head_removed() {
    let info = |last: u64| STREAM_INFO.replace("\"last_seq\":4", &format!("\"last_seq\":{last}"));
    let others = MESSAGE.replace("logs.a", "logs.b");
    // What the stream has come to, what is at sequence 3, where it goes on.
    for (last, at_sequence, from) in [(2, "", 1), (9, others.as_str(), 1), (9, NONE, 31), (3, NONE, 31)] {
        let mut talk = Talk::looked_up(Some(ACKED), NONE);
        assert_eq!(talk.from(), None);
        talk.answer(&info(last));
        if last >= 3 {
            assert!(talk.said().ends_with("\r\n{\"seq\":3}\r\n"));
            talk.answer(at_sequence);
        }
        assert_eq!(talk.from(), Some(from), "{last}");
        talk.publish(from, 40);
        assert!(talk.said().contains("Nats-Expected-Last-Subject-Sequence: 0\r\n"));
        talk.events();
        talk.answer(&ack(10));
        assert_eq!(talk.events().len(), if from == 1 { 2 } else { 1 }, "a rewind is told");
    }
    // Nothing was ever acked, or nobody knows.
    for position in [None, Some(Position::default()), Some(Position { sequence: 0, ..ACKED })] {
        let talk = Talk::looked_up(position, NONE);
        assert_eq!(talk.from(), Some(position.map_or(1, |position| position.acked + 1)));
    }
}

#[test]
fn n2_answers_that_contradict_each_other_are_asked_for_again_and_then_of_another_server() {
    let mut talk = Talk::looked_up(Some(ACKED), NONE);
    talk.answer(STREAM_INFO);
    talk.answer(MESSAGE);
    assert_eq!((talk.from(), talk.state(), talk.due()), (None, "waiting", 100));
    assert_eq!(talk.trouble(), Trouble::Puzzling);
    talk.answer(NONE);
    talk.answer(STREAM_INFO);
    talk.answer(MESSAGE);
    assert_eq!(talk.events(), [Event::Trouble(Trouble::Puzzling), Event::Close { next_server: true }]);
}

#[test]
fn n3_lines_of_others_on_our_subject_stop_the_output_and_it_looks_again() {
    // Without our headers: the box's is called otherwise.
    let strange = MESSAGE.replace("TE9HUw0KTHVtYmVy", "TE9HUw0KSHVtYmVy");
    let (subject, ours) = ("logs.a".to_owned(), [1; 16]);
    let other = Trouble::OtherBox { subject: subject.clone(), other: [0; 16], ours };
    let lines = Lines { first: 21, last: 30, segment: SEGMENT };
    for (box_id, knows, message, trouble) in [
        (ours, true, MESSAGE, other),
        ([0; 16], false, MESSAGE, Trouble::Copied { subject: subject.clone(), lines }),
        ([0; 16], true, &strange, Trouble::Stranger(subject.clone())),
    ] {
        let mut talk = Talk::greeted(Settings { box_id, ..settings(None) });
        talk.knows = knows;
        talk.answer(STREAM_INFO);
        talk.answer(message);
        assert_eq!(talk.trouble(), trouble);
        assert_eq!((talk.from(), talk.due()), (None, 5000));
        // Somebody has mended it.
        talk.answer(STREAM_INFO);
        talk.answer(NONE);
        assert_eq!(talk.from(), Some(1));
    }
}

#[test]
fn n3_the_segment_of_the_last_ack_is_ours_though_the_spool_has_removed_it() {
    let mut talk = Talk::greeted(settings(Some(ACKED)));
    talk.knows = false;
    talk.answer(STREAM_INFO);
    talk.answer(MESSAGE);
    assert_eq!((talk.from(), talk.asked.len()), (Some(31), 0));
    // More lines of it than were acked may be somebody else's.
    let mut talk = Talk::greeted(settings(Some(Position { acked: 29, ..ACKED })));
    talk.knows = false;
    talk.answer(STREAM_INFO);
    talk.answer(MESSAGE);
    assert_eq!((talk.from(), talk.asked.as_slice()), (None, &[Lines { first: 21, last: 30, segment: SEGMENT }][..]));
}

#[test]
fn n1_without_an_ack_in_time_the_stream_is_looked_at_and_a_late_ack_is_nothing() {
    let mut talk = Talk::publishing();
    talk.said();
    let late = talk.reply.clone();
    assert_eq!(talk.due(), 5000);
    assert!(talk.said().starts_with("PUB $JS.API.STREAM.INFO.LOGS "));
    talk.answer(STREAM_INFO);
    assert!(talk.said().starts_with("PUB $JS.API.STREAM.MSG.GET.LOGS "));
    talk.hear(&format!("MSG {late} 1 {}\r\n{}\r\n", ack(4).len(), ack(4)));
    assert_eq!((talk.state(), talk.events().len()), ("asking", 0));
    talk.answer(MESSAGE);
    assert_eq!(talk.from(), Some(31));
    talk.publish(31, 33);
    talk.hear(&format!("MSG {late} 1 {}\r\n{}\r\n", ack(4).len(), ack(4)));
    assert_eq!((talk.state(), talk.events().len()), ("publishing", 0));
    // Nor is what comes to another place, or of no number.
    for place in ["_INBOX.x.4", "_INBOX.1f1f1f1f1f1f1f1f1f1f1f1f.", "_INBOX.1f1f1f1f1f1f1f1f1f1f1f1f.99", "x"] {
        talk.hear(&format!("MSG {place} 1 {}\r\n{}\r\n", ack(4).len(), ack(4)));
    }
    assert_eq!((talk.state(), talk.events().len()), ("publishing", 0));
    talk.answer(&ack(4));
    assert_eq!(talk.from(), Some(34));
}

#[test]
fn n1_acks_that_do_not_come_from_a_stream_that_is_right_are_told_once_a_minute_until_one_comes() {
    let mut talk = Talk::ready();
    // One batch after another is stored, and none is acked.
    let miss = |talk: &mut Talk| {
        talk.publish(31, 35);
        assert_eq!(talk.due(), 5000);
        talk.answer(STREAM_INFO);
        talk.answer(MESSAGE);
        talk.hear("PONG\r\n");
        assert_eq!(talk.session.status().last_ack, None, "what is looked up is no ack");
        talk.events()
    };
    assert_eq!((miss(&mut talk), miss(&mut talk)), (vec![], vec![]));
    assert_eq!(miss(&mut talk), [Event::Unacked(Duration::from_secs(15))]);
    let later: Vec<Event> = (0..24).flat_map(|_| miss(&mut talk)).collect();
    assert_eq!(later, [75, 135].map(|seconds| Event::Unacked(Duration::from_secs(seconds))));
    talk.publish(31, 35);
    talk.answer(&ack(4));
    let acked = Event::Acked(Position { acked: 35, sequence: 4, segment: SEGMENT });
    assert_eq!((talk.events(), talk.session.status().last_ack), (vec![acked], Some(talk.now)));
    // Then it is no longer so, nor when it would be told again.
    talk.now += Duration::from_secs(60);
    talk.publish(36, 40);
    while talk.state() != "asking" {
        talk.due();
    }
    talk.answer(STREAM_INFO);
    assert_eq!((talk.events(), talk.from()), (vec![], None));
}

#[test]
fn n1_an_ack_says_which_stream_and_a_copy_that_was_known_is_stored_too() {
    let mut talk = Talk::publishing();
    talk.answer(r#"{"stream":"OTHER","seq":9}"#);
    let trouble = Trouble::OtherStream { stream: "OTHER".to_owned(), ours: "LOGS".to_owned() };
    assert_eq!((talk.trouble(), talk.state()), (trouble, "publishing"));
    for unreadable in ["+ACK", "{}", r#"{"stream":"LOGS"}"#, r#"{"seq":5}"#] {
        talk.answer(unreadable);
        assert_eq!((talk.events().len(), talk.state()), (0, "publishing"), "{unreadable}");
    }
    talk.answer(r#"{"stream":"LOGS","domain":"hub","seq":4,"duplicate":true}"#);
    assert_eq!(talk.events(), [Event::Acked(Position { acked: 35, sequence: 4, segment: SEGMENT })]);
}

#[test]
fn n1_whatever_a_batch_is_refused_with_the_stream_is_looked_at_before_the_next() {
    for code in [10071, 10163, 10164, 10008, 10059, 10039, 10076, 10060, 10077, 10047, 1] {
        let mut talk = Talk::publishing();
        talk.answer(&ack(4));
        talk.events();
        talk.publish(36, 40);
        talk.said();
        talk.answer(&error(code, "no"));
        let wrong_sequence = [10071, 10163, 10164].contains(&code);
        if !wrong_sequence {
            assert_eq!(talk.trouble(), Trouble::Refused { code: code.into(), said: "no".to_owned() });
            assert_eq!((talk.state(), talk.due()), ("waiting", 100), "{code}");
            assert!(talk.said().starts_with("PUB $JS.API.STREAM.INFO.LOGS "), "{code}");
            talk.answer(STREAM_INFO);
        }
        assert!(talk.said().starts_with("PUB $JS.API.STREAM.MSG.GET.LOGS "), "{code}");
        assert_eq!(talk.session.wants(), None);
    }
    let mut talk = Talk::publishing();
    talk.said();
    let text = format!("HMSG {} 1 40 40\r\nNATS/1.0 503\r\nNats-Subject: logs.a\r\n\r\n\r\n\r\n", talk.reply);
    talk.hear(&text);
    assert_eq!(talk.trouble().to_string(), "nobody takes logs.a: has stream LOGS lost its subjects, or its leader?");
    talk.due();
    assert!(talk.said().starts_with("PUB $JS.API.STREAM.INFO.LOGS "));
}

#[test]
fn n2_a_wrong_sequence_straight_after_a_look_up_waits_longer_each_time_and_then_asks_another_server() {
    let mut talk = Talk::ready();
    for (pause, troubles) in [(100, 0), (200, 1), (400, 1)] {
        talk.publish(31, 35);
        talk.answer(&error(10071, "wrong last sequence: 9"));
        assert_eq!((talk.events().len(), talk.state(), talk.due()), (troubles, "waiting", pause));
        talk.answer(MESSAGE);
    }
    talk.publish(31, 35);
    talk.answer(&error(10071, "wrong last sequence: 9"));
    let trouble = Trouble::Contested("logs.a".to_owned());
    assert_eq!(talk.events(), [Event::Trouble(trouble), Event::Close { next_server: true }]);
}

#[test]
fn n4_a_stream_that_would_not_keep_lines_is_refused_with_a_sentence() {
    for (old, new, why, sentence) in [
        (
            "limits",
            "interest",
            Unfit::Retention("interest".to_owned()),
            "stream LOGS has retention interest, which removes lines",
        ),
        ("limits", "workqueue", Unfit::Retention("workqueue".to_owned()), "stream LOGS has retention workqueue"),
        ("\"sealed\":false", "\"no_ack\":true", Unfit::NoAck, "stream LOGS has no_ack, so that nobody could know"),
        (
            "\"sealed\":false",
            "\"subject_transform\":{\"dest\":\"x\"}",
            Unfit::Transform,
            "stream LOGS has a subject transform",
        ),
        ("per_subject\":-1", "per_subject\":5", Unfit::PerSubject, "stream LOGS has max_msgs_per_subject"),
        ("\"sealed\":false", "\"sealed\":true", Unfit::Sealed, "stream LOGS is sealed"),
    ] {
        let mut talk = Talk::greeted(settings(None));
        talk.answer(&STREAM_INFO.replacen(old, new, 1));
        let trouble = talk.trouble();
        assert_eq!(trouble, Trouble::Unfit { stream: "LOGS".to_owned(), why });
        assert!(trouble.to_string().starts_with(sentence), "{trouble}");
        assert_eq!((talk.from(), talk.due()), (None, 5000));
        talk.answer(STREAM_INFO);
        talk.answer(NONE);
        assert_eq!(talk.from(), Some(1), "mended");
    }
    let mut talk = Talk::greeted(settings(None));
    talk.answer(&STREAM_INFO.replace("logs.", "other."));
    let sentence = "stream LOGS does not take logs.a, only other.>: add it to the stream's subjects, or give another";
    assert_eq!(talk.trouble().to_string(), sentence);
}

#[test]
fn n4_a_stream_that_is_changed_while_lines_go_there_is_refused_and_used_once_it_is_mended() {
    let no_ack = STREAM_INFO.replace("\"sealed\":false", "\"no_ack\":true");
    let unfit = |why| [Event::Trouble(Trouble::Unfit { stream: "LOGS".to_owned(), why })];
    // No ack has come in time.
    let mut talk = Talk::publishing();
    talk.due();
    talk.answer(&no_ack);
    assert_eq!((&talk.events()[..], talk.from()), (&unfit(Unfit::NoAck)[..], None));
    assert_eq!(talk.due(), 5000);
    talk.answer(STREAM_INFO);
    // It did store the batch: the headers of lines 21 to 30 as those of 31 to 35.
    talk.answer(&MESSAGE.replace("pbmVzOiAyMS0zMA0KT", "pbmVzOiAzMS0zNQ0KT").replace("\"seq\":3", "\"seq\":4"));
    let events = talk.events();
    assert!(matches!(events[..], [Event::Found(_), Event::Ready(_)]), "{events:?}");
    assert_eq!(talk.from(), Some(36));
    // It acks, and would remove lines unseen: that is found each minute, with and without lines that go there.
    for has_lines in [false, true] {
        let mut talk = Talk::greeted(settings(Some(ACKED)));
        // Not when a ping is due.
        talk.now += Duration::from_secs(7);
        talk.answer(STREAM_INFO);
        talk.answer(MESSAGE);
        let bounded = STREAM_INFO.replace("per_subject\":-1", "per_subject\":5");
        for answer in [STREAM_INFO, STREAM_INFO, &bounded] {
            let until = talk.now + Duration::from_secs(60);
            talk.said();
            while has_lines && talk.now + Duration::from_secs(1) < until {
                talk.now += Duration::from_secs(1);
                talk.session.tick(talk.now);
                let from = talk.from().unwrap();
                talk.publish(from, from);
                talk.answer(&ack(from));
                talk.hear("PONG\r\n");
            }
            while talk.state() != "asking" {
                talk.due();
                talk.hear("PONG\r\n");
            }
            assert_eq!((talk.now, talk.from()), (until, None));
            assert!(talk.said().contains("PUB $JS.API.STREAM.INFO.LOGS "));
            talk.events();
            talk.answer(answer);
            assert_eq!(talk.from().is_some(), *answer == *STREAM_INFO, "the last message is known");
        }
        assert_eq!(talk.events(), unfit(Unfit::PerSubject));
    }
}

#[test]
fn n4_a_stream_that_is_not_there_is_said_or_made() {
    let none = error(10059, "stream not found");
    let mut talk = Talk::greeted(settings(None));
    talk.answer(&none);
    assert_eq!(talk.trouble(), Trouble::NoStream("LOGS".to_owned()));
    assert_eq!(talk.due(), 5000);
    assert!(talk.said().contains("PUB $JS.API.STREAM.INFO.LOGS"));

    let may = Settings { create: Some("logs.*".to_owned()), ..settings(None) };
    // Made, or made by another box meanwhile.
    for answer in [STREAM_INFO, &error(10058, "stream name already in use with a different configuration")] {
        let mut talk = Talk::greeted(may.clone());
        talk.said();
        talk.answer(&none);
        let asked = r#"{"name":"LOGS","subjects":["logs.*"],"storage":"file","retention":"limits"}"#;
        let said = talk.said();
        assert!(
            said.starts_with("PUB $JS.API.STREAM.CREATE.LOGS ") && said.ends_with(&format!("{asked}\r\n")),
            "{said}"
        );
        talk.answer(answer);
        assert!(talk.said().starts_with("PUB $JS.API.STREAM.INFO.LOGS "));
        talk.answer(STREAM_INFO);
        talk.answer(NONE);
        assert_eq!(talk.from(), Some(1));
    }
    let mut talk = Talk::greeted(may);
    talk.answer(&none);
    talk.answer(&error(10065, "subjects overlap with an existing stream"));
    assert_eq!(talk.trouble().to_string(), "stream LOGS can't be made: subjects overlap with an existing stream");
    talk.due();
    // Once a connection.
    talk.answer(&none);
    assert_eq!(talk.trouble(), Trouble::NoStream("LOGS".to_owned()));
}

#[test]
fn n4_without_jetstream_it_is_asked_again_and_then_of_another_server() {
    for answer in ["503", "10039", "10076"] {
        let mut talk = Talk::greeted(settings(None));
        for is_last in [false, true] {
            match answer {
                "503" => {
                    let text = format!("HMSG {} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", talk.reply);
                    talk.hear(&text);
                }
                code => talk.answer(&error(code.parse().unwrap(), "JetStream not enabled for account")),
            }
            let mut wanted = vec![Event::Trouble(Trouble::NoJetStream)];
            wanted.extend(is_last.then_some(Event::Close { next_server: true }));
            assert_eq!(talk.events(), wanted, "{answer}");
            if !is_last {
                talk.due();
            }
        }
    }
}

#[test]
fn n5_what_the_server_blames_us_for_is_a_sentence() {
    let all = "this user has to publish to logs.a, $JS.API.STREAM.INFO.LOGS and $JS.API.STREAM.MSG.GET.LOGS (with --nats-create to $JS.API.STREAM.CREATE.LOGS too), and subscribe to _INBOX.>";
    // What it says, whether the connection is of no use, what we say. As nats-server 2.14.0 writes them.
    for (text, is_end, sentence) in [
        (
            "'Authorization Violation'",
            true,
            "the server wants to know who we are (Authorization Violation): give --nats-creds FILE",
        ),
        ("'User Authentication Expired'", true, "the server wants to know who we are (User Authentication Expired)"),
        ("'Authentication Timeout'", true, "the server wants to know who we are (Authentication Timeout)"),
        (
            "'maximum connections exceeded'",
            true,
            "the server has no room for one more client (maximum connections exceeded)",
        ),
        ("'maximum account active connections exceeded'", true, "the server has no room for one more client"),
        ("'Secure Connection - TLS Required'", true, "the server wants TLS"),
        (
            "'Permissions Violation for Publish to \"logs.a\"'",
            false,
            &format!("the server says: Permissions Violation for Publish to \"logs.a\"; {all}"),
        ),
        (
            "'Permissions Violation for Subscription to \"_INBOX.1.*\"'",
            false,
            "the server says: Permissions Violation for Subscription",
        ),
        ("'Stale Connection'", false, "the server says: Stale Connection"),
        ("'Unknown Protocol \x1b[2J'", false, "the server says: Unknown Protocol ?[2J"),
    ] {
        let mut talk = Talk::greeted(settings(None));
        talk.hear(&format!("-ERR {text}\r\n"));
        let events = talk.events();
        let [Event::Trouble(trouble), rest @ ..] = &events[..] else { panic!("{events:?}") };
        assert!(trouble.to_string().starts_with(sentence), "{trouble}");
        assert_eq!(rest, if is_end { &[Event::Close { next_server: true }][..] } else { &[] }, "{text}");
        if text.contains("Permissions") {
            assert_eq!((talk.state(), talk.due()), ("waiting", 5000));
        }
    }
    let credentials = Credentials::user("a".to_owned(), "s3cret".to_owned());
    let mut talk = Talk::greeted(Settings { credentials, ..settings(None) });
    assert!(talk.said().contains(r#","user":"a","pass":"s3cret"}"#));
    // Others count from the next connection on.
    talk.session.set_credentials(Credentials::user("a".to_owned(), "an0ther".to_owned()));
    talk.hear("-ERR 'Authorization Violation'\r\n");
    let sentence = "the server does not take these credentials (Authorization Violation): see --nats-creds";
    assert_eq!(talk.trouble().to_string(), sentence);
    talk.session.disconnected();
    talk.session.connected([2; 12], talk.now);
    talk.hear(INFO);
    assert!(talk.said().contains(r#","user":"a","pass":"an0ther"}"#));
}

#[test]
fn p34_before_a_connection_is_secured_nothing_is_said_or_heard() {
    let offers = INFO.replace("\"headers\"", "\"tls_available\":true,\"headers\"");
    let secured = || {
        let mut talk = Talk::new(Settings { tls: Tls::Upgrade, ..settings(None) });
        talk.session.connected([0; 12], talk.now);
        talk.hear(&offers);
        talk
    };
    let mut talk = secured();
    assert_eq!((talk.events(), talk.said().as_str()), (vec![Event::Secure], ""));
    talk.now += Duration::from_secs(100);
    talk.session.tick(talk.now);
    talk.send();
    assert_eq!((talk.said().as_str(), talk.session.due_in(talk.now)), ("", None), "no ping either");
    talk.session.secured(talk.now);
    talk.send();
    assert!(talk.said().starts_with("CONNECT {"));
    talk.session.secured(talk.now);
    talk.send();
    assert_eq!(talk.said(), "", "once");
    // What comes before that is refused, also in the same packet, and then nothing is secured.
    let mut talk = secured();
    talk.hear("PING\r\n");
    let refused = [Event::Trouble(Trouble::TooMuch), Event::Close { next_server: true }];
    assert_eq!((&talk.events()[..], talk.said().as_str()), (&refused[..], ""));
    let mut talk = Talk::new(Settings { tls: Tls::Upgrade, ..settings(None) });
    talk.session.connected([0; 12], talk.now);
    talk.hear(&format!("{offers}+OK\r\n"));
    assert_eq!((&talk.events()[..], talk.said().as_str()), (&refused[..], ""));
    talk.session.secured(talk.now);
    talk.send();
    assert_eq!(talk.said(), "");
    // One that offers none is left; where TLS was first, nobody asks what it offers.
    let mut talk = Talk::new(Settings { tls: Tls::Upgrade, ..settings(None) });
    talk.session.connected([0; 12], talk.now);
    talk.hear(INFO);
    assert_eq!(talk.events(), [Event::Trouble(Trouble::NoTls), Event::Close { next_server: true }]);
    let mut talk = Talk::new(Settings { tls: Tls::First, ..settings(None) });
    talk.session.connected([0; 12], talk.now);
    talk.hear(INFO);
    assert!(talk.said().starts_with("CONNECT {"));
}

#[test]
fn n5_a_server_that_can_t_be_talked_to_is_said() {
    let needs_tls = INFO.replace("\"headers\"", "\"tls_required\":true,\"headers\"");
    for (text, trouble) in [
        (needs_tls.as_str(), Trouble::Tls),
        ("INFO {\"version\":\"2.1.9\"}\r\n", Trouble::NoHeaders { version: "2.1.9".to_owned() }),
        ("220 mail.example ESMTP\r\n", Trouble::NotNats),
        ("INFO {\"version\"\r\n", Trouble::NotNats),
        ("INFO []]\r\n", Trouble::NotNats),
    ] {
        let mut talk = Talk::new(settings(None));
        talk.session.connected([0; 12], talk.now);
        talk.hear(text);
        assert_eq!(talk.events(), [Event::Trouble(trouble), Event::Close { next_server: true }], "{text}");
        assert_eq!((talk.said().as_str(), talk.session.due_in(talk.now)), ("", None));
        talk.hear("PING\r\n");
        assert_eq!(talk.said(), "", "nothing is said any more");
    }
    // Or says nothing: before its greeting, before it lets us in, to two questions.
    for (heard, silences) in [(vec![], 1), (vec![INFO], 1), (vec![INFO, "PONG\r\n"], 2)] {
        let mut talk = Talk::new(settings(None));
        talk.session.connected([0; 12], talk.now);
        heard.into_iter().for_each(|text| talk.hear(text));
        assert_eq!(talk.events(), []);
        for _ in 0..silences {
            assert_eq!(talk.due(), 5000);
        }
        assert_eq!(talk.events(), [Event::Trouble(Trouble::Unanswered), Event::Close { next_server: true }]);
    }
}

#[test]
fn n5_pings_are_answered_and_asked_and_a_server_that_is_gone_is_noticed() {
    let mut talk = Talk::ready();
    talk.said();
    talk.hear("PING\r\n");
    assert_eq!(talk.said(), "PONG\r\n");
    for _ in 0..3 {
        assert_eq!(talk.due(), 30_000);
        assert!(talk.said().ends_with("PING\r\n"));
        talk.hear("PONG\r\n");
        if talk.state() == "asking" {
            talk.answer(STREAM_INFO);
        }
    }
    talk.publish(31, 35);
    talk.answer(&ack(4));
    // Nor does it answer any more when it is asked what the stream is like, which comes with the second.
    assert_eq!((talk.due(), talk.due(), talk.due(), talk.events().len()), (30_000, 5_000, 5_000, 3));
    let mut talk = Talk::ready();
    talk.session.publish(Lines { first: 31, last: 35, segment: SEGMENT }, vec![b'x'; 9], talk.now);
    // Nothing of it leaves us.
    let wait = |talk: &mut Talk| {
        let due = talk.session.due_in(talk.now).unwrap();
        talk.now += due;
        talk.session.tick(talk.now);
        due.as_millis()
    };
    assert_eq!((wait(&mut talk), wait(&mut talk), talk.events().len()), (30_000, 30_000, 0));
    assert_eq!(wait(&mut talk), 30_000);
    assert_eq!(talk.events(), [Event::Trouble(Trouble::Unanswered), Event::Close { next_server: true }]);
}

#[test]
fn n6_a_batch_fits_the_server_and_the_stream_whenever_they_change() {
    let mut talk = Talk::ready();
    let Wanted { aim, most, .. } = talk.session.wants().unwrap();
    let header_bytes = 1_048_576 - most;
    assert_eq!((aim, header_bytes > 200 && header_bytes < 350), (256 * 1024, true), "{header_bytes}");
    talk.hear(&INFO.replace("1048576", "5000"));
    assert_eq!(talk.session.bound(), "the server's max_payload");
    assert_eq!(talk.session.wants().unwrap(), Wanted { from: 31, aim: 5000 - header_bytes, most: 5000 - header_bytes });
    // The stream says so when a batch is too long, and is looked at again.
    talk.publish(31, 35);
    talk.answer(&error(10054, "message size exceeds maximum allowed"));
    talk.answer(&STREAM_INFO.replace("\"max_msg_size\":-1", "\"max_msg_size\":3000"));
    talk.answer(MESSAGE);
    assert_eq!(talk.session.wants().unwrap().most, 3000 - header_bytes);
    assert_eq!(talk.session.bound(), "the stream's max_msg_size");
    // Lines are no longer than that, or this is none for lines.
    talk.hear(&INFO.replace("1048576", "1000"));
    // A limit that is raised is told to new connections only.
    let wanted = [Event::Trouble(Trouble::TooSmall { most: 1000 }), Event::Close { next_server: true }];
    assert_eq!((talk.events(), talk.from()), (wanted.to_vec(), None));
}

#[test]
fn n6_a_limit_that_nobody_told_is_found_and_forgotten_when_one_is_told() {
    let mut talk = Talk::ready();
    let length = 5000;
    talk.session.publish(Lines { first: 31, last: 35, segment: SEGMENT }, vec![b'x'; length], talk.now);
    talk.send();
    talk.hear("-ERR 'Maximum Payload Violation'\r\n");
    // The same server again: it will take less at a time.
    assert_eq!(talk.events(), [Event::Close { next_server: false }]);
    talk.session.disconnected();
    talk.session.connected([2; 12], talk.now);
    talk.hear(INFO);
    talk.hear("PONG\r\n");
    talk.answer(STREAM_INFO);
    talk.answer(MESSAGE);
    let wanted = talk.session.wants().unwrap();
    assert_eq!((wanted.from, wanted.most), (31, length - 1));
    talk.hear(&INFO.replace("1048576", "1048577"));
    assert!(talk.session.wants().unwrap().most > 1_000_000);
}

#[test]
fn n6_on_a_slow_link_batches_get_shorter_and_nothing_is_given_up_while_bytes_move() {
    let mut talk = Talk::ready();
    talk.session.publish(Lines { first: 31, last: 35, segment: SEGMENT }, vec![b'x'; 200_000], talk.now);
    talk.session.sent(1000, talk.now);
    talk.now += Duration::from_secs(29);
    talk.session.tick(talk.now);
    assert_eq!(talk.state(), "publishing", "it has not left yet");
    talk.send();
    assert_eq!(talk.due(), 1000, "a ping");
    assert_eq!(talk.due(), 4000);
    talk.answer(STREAM_INFO);
    assert_eq!(talk.state(), "asking");
    // The answer has the whole message in it, and takes its time.
    let (start, end) = MESSAGE.split_at(400);
    let text = format!("MSG {} 1 {}\r\n{start}", talk.reply, MESSAGE.len());
    talk.now += Duration::from_secs(4);
    talk.hear(&text);
    talk.now += Duration::from_secs(4);
    talk.session.tick(talk.now);
    talk.hear(&format!("{end}\r\n"));
    assert_eq!(talk.session.wants().unwrap().aim, 128 * 1024);
    for (first, aim) in [(31, 64), (31, 32), (31, 16), (31, 8), (31, 8)] {
        talk.publish(first, 35);
        while talk.state() == "publishing" {
            talk.due();
            talk.hear("PONG\r\n");
        }
        talk.answer(STREAM_INFO);
        talk.answer(MESSAGE);
        assert_eq!(talk.session.wants().unwrap().aim, aim * 1024);
    }
    talk.publish(31, 35);
    talk.answer(&ack(4));
    assert_eq!(talk.session.wants().unwrap().aim, 16 * 1024);
}

#[test]
fn n7_a_server_that_is_about_to_end_is_left_once_the_batch_is_acked() {
    let leaving = INFO.replace("\"headers\"", "\"ldm\":true,\"connect_urls\":[\"h:4222\"],\"headers\"");
    let servers = Event::Servers(vec!["h:4222".to_owned()]);
    let about_to_end = || Event::Trouble(Trouble::Leaving);
    let mut talk = Talk::ready();
    talk.hear(&leaving);
    assert_eq!(talk.events(), [servers.clone(), about_to_end(), Event::Close { next_server: true }]);
    let mut talk = Talk::publishing();
    talk.hear(&leaving);
    assert_eq!(talk.events(), std::slice::from_ref(&servers));
    talk.answer(&ack(4));
    let acked = Event::Acked(Position { acked: 35, sequence: 4, segment: SEGMENT });
    assert_eq!(talk.events(), [acked, about_to_end(), Event::Close { next_server: true }]);
    // Or, if no ack comes, before the stream is looked at.
    let mut talk = Talk::publishing();
    talk.hear(&leaving);
    talk.due();
    assert_eq!(talk.events(), [servers.clone(), about_to_end(), Event::Close { next_server: true }]);
    // Its streams go first, so that nobody takes the subject.
    let mut talk = Talk::publishing();
    talk.hear(&leaving);
    let text = format!("HMSG {} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", talk.reply);
    talk.hear(&text);
    assert_eq!(talk.events(), [servers, about_to_end()]);
}

#[test]
fn n8_a_server_that_tells_of_itself_without_end_is_left() {
    let endless = [Event::Trouble(Trouble::Endless), Event::Close { next_server: true }];
    let mut talk = Talk::ready();
    // As many as a cluster may send when its servers come and go.
    for _ in 0..3 {
        talk.now += Duration::from_secs(1);
        talk.hear(&INFO.repeat(100));
        assert_eq!(talk.events(), []);
    }
    talk.now += Duration::from_secs(1);
    talk.hear(&INFO.repeat(101));
    assert_eq!(talk.events(), endless);
    assert!(Trouble::Endless.to_string().contains("without end"));
    // Or one that never ends, in any pieces; a long one is heard.
    let mut talk = Talk::ready();
    let long = format!("INFO {{\"headers\":true,\"max_payload\":1048576,\"x\":\"{}\"}}\r\n", "x".repeat(500_000));
    talk.hear(&long);
    assert_eq!((talk.events(), talk.from()), (vec![], Some(31)));
    talk.now += Duration::from_secs(1);
    talk.hear("INFO {\"x\":\"");
    for _ in 0..16 {
        talk.hear(&"x".repeat(65_000));
    }
    assert_eq!(talk.events(), []);
    talk.hear(&"x".repeat(65_000));
    assert_eq!(talk.events(), endless);
    // Also before it has let us in.
    let mut talk = Talk::new(settings(None));
    talk.session.connected([0; 12], talk.now);
    talk.hear(&INFO.repeat(101));
    assert_eq!(talk.events(), endless);
}

#[test]
fn n1_a_connection_that_ends_with_a_batch_in_flight_is_followed_by_a_look_up() {
    for is_stored in [true, false] {
        let mut talk = Talk::publishing();
        talk.session.disconnected();
        assert_eq!((talk.session.due_in(talk.now), talk.from(), talk.session.has_unsent()), (None, None, false));
        talk.session.connected([2; 12], talk.now);
        talk.hear(INFO);
        talk.hear("PONG\r\n");
        talk.answer(STREAM_INFO);
        let mut wanted = 31;
        if is_stored {
            // The headers of lines 21 to 30 as those of 31 to 35.
            let lines = "pbmVzOiAyMS0zMA0KT";
            assert!(MESSAGE.contains(lines));
            talk.answer(&MESSAGE.replace(lines, "pbmVzOiAzMS0zNQ0KT").replace("\"seq\":3", "\"seq\":4"));
            wanted = 36;
        } else {
            talk.answer(MESSAGE);
        }
        assert_eq!(talk.from(), Some(wanted));
        assert_eq!(talk.session.status().reconnects_total, 1);
    }
}

#[test]
fn n8_a_hostile_server_makes_us_hold_little() {
    let mut talk = Talk::ready();
    let servers = |letter: &str| {
        let url = format!("\"{}:1\",", letter.repeat(100)).repeat(16);
        INFO.replace("\"headers\"", &format!("\"connect_urls\":[{}],\"headers\"", url.trim_end_matches(',')))
    };
    let flood = "-ERR 'x'\r\nPING\r\n".repeat(100_000) + &(servers("a") + &servers("b")).repeat(10);
    let mut known = |_: &Lines| true;
    talk.session.receive(flood.as_bytes(), talk.now, &mut known);
    talk.session.receive(flood.as_bytes(), talk.now, &mut known);
    let events = talk.events();
    let told = events.iter().filter(|event| matches!(event, Event::Servers(_))).count();
    assert!(events.len() <= 32 && told <= 1 && talk.session.unsent().concat().len() <= 64 * 1024, "{told}");
}
