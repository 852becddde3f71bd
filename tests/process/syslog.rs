//! `parse=syslog` of the built binary: fields, what is left out and counted, receipts, and wrong spellings.

use super::errors::assert_sentence;
use crate::support::receiver::Setup;

/// With the feature, each of these is a sentence of its own; without it, that of the build comes first.
#[test]
fn p13_each_mistake_about_syslog_is_one_sentence_and_exit_2() {
    let syslog: &[&str] = &["--parse", "syslog"];
    let at = |options: &str| format!("127.0.0.1:0,{options}");
    let known: &[(&[&str], &str, &str)] = &[
        (&["--parse", "Syslog"], "--parse Syslog: use one of off, syslog", ""),
        (&["--parse", "rfc5424"], "--parse rfc5424: use one of off, syslog", ""),
        (&["--parse", ""], "--parse (nothing): use one of off, syslog", ""),
        (&["--parse"], "--parse needs a value", "see --help"),
        (&["--listen", &at("parse=json")], "--listen 127.0.0.1:0,parse=json: parse: use one of off, syslog", ""),
        (&["--listen", &at("parse")], "--listen 127.0.0.1:0,parse: ", ""),
        (&["--listen", &at("parse=syslog,parse=off")], "--listen ", "parse is given twice: give it once"),
        (&["--listen", &at("parser=syslog")], "--listen 127.0.0.1:0,parser=syslog: ", ""),
    ];
    for (args, begins, ends) in known {
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
    let nobody_reads = "is about headers, which nobody reads: add --parse syslog, or --listen ADDR:PORT,parse=syslog";
    let no_fields = "is about the fields of --format json: add that, or leave it out";
    let words = "use one of emerg, alert, crit, err, warning, notice, info, debug";
    let with_feature: &[(&[&str], String, &str)] = &[
        (&["--min-severity", "warn"], "--min-severity warn: ".to_owned(), words),
        (&["--min-severity", "4"], "--min-severity 4: ".to_owned(), words),
        (&["--min-severity", "error"], "--min-severity error: ".to_owned(), words),
        (&["--min-severity", "err"], format!("--min-severity {nobody_reads}"), ""),
        (&["--keep-original", "--format", "json"], format!("--keep-original {nobody_reads}"), ""),
        (&["--trust-host", "--format", "json"], format!("--trust-host {nobody_reads}"), ""),
        (&["--keep-original", "--parse", "syslog"], format!("--keep-original {no_fields}"), ""),
        (&["--trust-host", "--parse", "syslog", "--format", "peer"], format!("--trust-host {no_fields}"), ""),
        (&["--trust-host=perhaps"], "--trust-host perhaps: use true or false".to_owned(), ""),
    ];
    if cfg!(feature = "syslog") {
        for (args, begins, ends) in with_feature {
            assert_sentence(&Setup::new(args).run(), 2, begins, ends);
        }
    } else {
        for args in [syslog, &["--listen", &at("parse=syslog")]] {
            let sentence = "parse=syslog is not in this build: it is the feature `syslog`";
            assert_sentence(&Setup::new(args).run(), 2, sentence, sentence);
        }
    }
}

#[cfg(feature = "syslog")]
mod fields {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use crate::support::conditions::until_equal;
    use crate::support::receiver::Receiver;

    const WARNING: &str = "<36>1 2026-11-26T14:44:46.003Z gw-7 sshd 12 ID1 [a@1 b=\"c\"] it's late";
    const INFO: &str = "<30>Nov 16 09:01:02 filterlog[9]: 4,,,";

    /// Sends lines, and reads the receipt.
    fn receipt_for(receiver: &Receiver, lines: &[&str]) -> String {
        let mut client = receiver.client();
        client.write_all(lines.join("\n").as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    /// A line without what changes: the time of its arrival, and the port; and the year of a time without one.
    fn without_times(line: &str) -> String {
        let (_, rest) = line.split_once("\",\"peer\":\"127.0.0.1:").unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        match rest.split_once("\"time\":\"20") {
            Some((before, rest)) if rest.contains("-11-16T09:01:02") => format!("{before}TIME{}", &rest[23..]),
            _ => rest.to_owned(),
        }
    }

    #[test]
    fn p22_headers_are_fields_of_json_and_what_is_no_header_is_message() {
        let with = |options: &[&str]| {
            let receiver =
                Receiver::start(&[&["--format", "json", "--parse", "syslog", "--receipt"], options].concat());
            assert_eq!(receipt_for(&receiver, &[WARNING, INFO, "no header"]), "3 lines\n");
            let ended = receiver.stop();
            ended.assert_clean();
            ended.lines().iter().map(|line| without_times(line)).collect::<Vec<_>>()
        };
        let warning = r#","severity":"warning","facility":"auth","time":"2026-11-26T14:44:46.003Z","hostname":"gw-7","app":"sshd","pid":"12","msgid":"ID1","sd":{"a@1":{"b":"c"}}"#;
        let info = r#","severity":"info","facility":"daemon",TIME","app":"filterlog","pid":"9""#;
        let host = r#","host":"127.0.0.1""#;
        assert_eq!(
            with(&[]),
            [
                format!(r#"{host}{warning},"line":"it's late"}}"#),
                format!(r#"{host}{info},"line":"4,,,"}}"#),
                format!(r#"{host},"line":"no header"}}"#),
            ]
        );
        assert_eq!(
            with(&["--trust-host", "--keep-original"]),
            [
                format!(
                    r#","host":"gw-7"{warning},"original":"{}","line":"it's late"}}"#,
                    WARNING.replace('"', "\\\"")
                ),
                format!(r#"{host}{info},"original":"{INFO}","line":"4,,,"}}"#),
                format!(r#"{host},"line":"no header"}}"#),
            ]
        );
    }

    #[test]
    fn p22_raw_and_peer_keep_the_line_and_a_listener_of_lines_beside_it_reads_no_header() {
        let receiver = Receiver::start(&["--parse", "syslog", "--receipt"]);
        receipt_for(&receiver, &[WARNING, INFO]);
        assert_eq!(receiver.stop().lines(), [WARNING, INFO]);
        let args = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0,parse=syslog", "--format", "json", "--receipt"];
        // The first listener is the one that clients of this test reach.
        let receiver = Receiver::start(&args);
        receipt_for(&receiver, &[INFO]);
        let lines = receiver.stop().lines();
        assert!(lines[0].ends_with(&format!(r#"","line":"{INFO}"}}"#)) && !lines[0].contains("severity"), "{lines:?}");
    }

    #[test]
    fn p22_what_is_left_out_counts_in_receipts_and_as_filtered_and_is_no_loss() {
        for format in ["raw", "peer", "json"] {
            let parse = ["--format", format, "--parse", "syslog", "--min-severity", "warning"];
            let receiver = Receiver::start(&[&parse[..], &["--receipt"]].concat());
            let blocks: [&[&str]; 3] = [&[WARNING, INFO, "no header", "<7>x"], &[INFO], &[INFO, INFO]];
            for block in blocks {
                assert_eq!(receipt_for(&receiver, block), format!("{} lines\n", block.len()), "{format}");
            }
            until_equal("lines and filtered", &(7, 5), || {
                receiver.signal("USR1");
                let said = receiver.said();
                let number = |name: &str| {
                    let (_, rest) = said.rsplit_once(&format!("\"{name}\":"))?;
                    rest.split([',', '}']).next()?.parse::<u64>().ok()
                };
                (number("lines").unwrap_or_default(), number("filtered").unwrap_or_default())
            });
            let ended = receiver.stop();
            ended.assert_clean();
            let lines = ended.lines();
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines[0].contains("late") && lines[1].contains("no header"), "{lines:?}");
        }
    }

    #[cfg(feature = "status")]
    #[test]
    fn p22_visitors_see_how_many_were_left_out() {
        use crate::support::http::{Http, status_of};

        let args = ["--parse", "syslog", "--min-severity", "err", "--status", "127.0.0.1:0", "--receipt"];
        let receiver = Receiver::start(&args);
        let at = status_of(&receiver);
        receipt_for(&receiver, &[INFO, INFO, WARNING, "<3>kept"]);
        let mut http = Http::connect(&at);
        until_equal("the number", &3, || http.get("/diagnostics").json().number("counters.filtered"));
        let metrics = http.get("/metrics").body;
        assert!(metrics.contains("\nlumberjack_filtered_lines_total 3\n"), "{metrics}");
        let text = http.get("/diagnostics?format=text").body;
        assert!(text.contains("events: ") && text.contains("filtered 3"), "{text}");
        let json = http.get("/diagnostics").body;
        let (_, losses) = json.split_once("\"losses\":{").unwrap();
        let (losses, _) = losses.split_once('}').unwrap();
        assert!(!losses.contains("\"filtered\""), "it is no loss: {losses}");
        receiver.stop().assert_clean();
    }
}
