//! Lines to JSON: as they come, and as syslog messages with their fields.

use std::hint::black_box;

use lumberjack::internals::format::Formatter;
use lumberjack::{Format, Lines, Origin, Parse, Peer, SyslogOptions};

use super::{Case, Pass};

/// Bytes of a block: what one read brings.
const BLOCK_BYTES: usize = 64 * 1024;

const RFC5424: &str = r#"<165>1 2026-11-26T14:44:46.003003+01:00 gw-7.example.com sshd 1234 ID47 [exampleSDID@32473 iut="3" eventID="1011"] user number 12 has signed in"#;
const RFC3164: &str = "<34>Nov 26 14:44:46 gw-7 sshd[1234]: user number 12 has signed in from 192.0.2.7, as each day";

fn case(name: &str, line: &'static str, parse: Parse) -> Case {
    let count = BLOCK_BYTES / (line.len() + 1);
    let bytes = count * (line.len() + 1);
    let prepare = move || {
        let body = format!("{line}\n").repeat(count);
        let mut formatter = Formatter::new(Format::Json, "", false);
        formatter.read_syslog(SyslogOptions::default(), Box::new(|_| 3600));
        let mut out = Vec::new();
        Box::new(move || {
            out.clear();
            let origin =
                Origin { peer: &Peer::V4 { ip: [192, 0, 2, 7], port: 5000 }, wall_ms: 1_795_704_286_003, parse };
            let lines = Lines { head: b"", body: black_box(body.as_bytes()), count: count as u64, ended: true };
            assert_eq!(formatter.write(&origin, lines, &mut out), count as u64);
            black_box(&out);
        }) as Pass
    };
    Case { name: format!("format/{name}"), unit: "line", units: count as u64, bytes, prepare: Box::new(prepare) }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("json", RFC3164, Parse::Off),
        case("syslog-3164", RFC3164, Parse::Syslog),
        case("syslog-5424", RFC5424, Parse::Syslog),
    ]
}
