//! P9: a client at full speed does not delay another's lines.

use std::io::Write;
use std::time::Duration;

use lumberjack::Limits;

use super::client::over_tls;
use super::world::{World, send};

#[test]
fn p9_a_line_beside_clients_at_full_speed_is_out_within_a_few_turns() {
    let mut world = World::new(Limits::default());
    let mut floods: Vec<_> = (0..8).map(|_| world.taken_client()).collect();
    let mut calm = world.taken_client();
    let block = b"a line of a client at full speed\n".repeat(4000);
    for flood in &mut floods {
        flood.set_nonblocking(true).unwrap();
    }
    for number in 0..20 {
        // More than one read holds: the kernel has the rest ready for the next turn.
        for flood in &mut floods {
            while flood.write(&block).is_ok() {}
        }
        let line = format!("calm {number}");
        send(&mut calm, format!("{line}\n").as_bytes());
        let mut turns = 0;
        while !world.valve.lines().iter().any(|found| found == line.as_bytes()) {
            world.turn(Duration::from_millis(100)).unwrap();
            turns += 1;
            // Over TLS a read brings less, and decrypting takes its share of a turn.
            let most = if over_tls() { 6 } else { 3 };
            assert!(turns <= most, "the calm line is not out after {turns} turns");
        }
    }
}
