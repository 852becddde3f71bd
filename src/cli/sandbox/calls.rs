//! The system calls that a running server makes, as a filter for the kernel (seccomp). What is not here is forbidden: starting a
//! program, another process, its memory, mounts, modules. Invariant: the filter is for the processor that it was built for, and
//! lets no other numbers through.

use nix::libc;
use seccompiler::{Error, apply_filter_all_threads, sock_filter};

/// How the kernel calls this processor (`AUDIT_ARCH_…`).
#[cfg(target_arch = "x86_64")]
const PROCESSOR: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const PROCESSOR: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const PROCESSOR: u32 = 0xc000_00f3;

/// What becomes of a call (`SECCOMP_RET_…`).
const ALLOW: u32 = 0x7fff_0000;
const ERROR: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

/// What becomes of a call that is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forbidden {
    /// It fails with EPERM.
    Fails,
    /// It ends the process (SIGSYS).
    Kills,
}

/// What an argument has to be.
#[derive(Clone, Copy)]
enum Only {
    /// One of these.
    Of(&'static [u32]),
    /// It has these bits.
    With(u32),
    /// The number of this process.
    Us,
}

/// Calls whose arguments are all the same: by what the loop makes of them, the most frequent first.
const CALLS: &[libc::c_long] = &[
    // The turn.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_recvfrom,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_accept4,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_shutdown,
    // Of a clock that the kernel does not show without a call.
    libc::SYS_clock_gettime,
    // Sockets.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_socketpair,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_epoll_create1,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Files.
    libc::SYS_openat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_flock,
    libc::SYS_fchown,
    libc::SYS_fchmod,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
    libc::SYS_renameat2,
    // The same by older names, which libcs use where there are any.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Threads, signals and the end.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpriority,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Who and where we are.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
];

/// Threads alone, no processes.
const CLONE_THREAD: u32 = 0x1_0000;
/// AF_UNIX, AF_INET, AF_INET6; and AF_NETLINK, by which the C library asks which addresses this box has.
const FAMILIES: &[u32] = &[1, 2, 10, 16];
/// Whether it is a terminal (TCGETS, TCGETS2, TIOCGWINSZ); what waits in a socket or pipe (FIONREAD, SIOCOUTQ); that it does not
/// wait, and is closed on exec (FIONBIO, FIOCLEX, FIONCLEX); and the number of an interface (SIOCGIFINDEX, SIOCGIFNAME), for
/// addresses with a `%`. Not TIOCSTI, which types into the terminal of whoever started us.
const CONTROLS: &[u32] = &[0x5401, 0x802c_542a, 0x5413, 0x541b, 0x5411, 0x5421, 0x5451, 0x5450, 0x8933, 0x8910];
/// PR_SET_NAME, and PR_SET_VMA, by which libcs name their memory.
const PROCESS_OPTIONS: &[u32] = &[15, 0x5356_4d41];

/// F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. Not those that have the kernel send signals, to anybody.
const OF_DESCRIPTORS: &[u32] = &[0, 1, 2, 3, 4, 1030];
/// No pointer, or we ourselves where another number would be another process.
const NONE: &[u32] = &[0];

/// Calls that may be made with some arguments: which halves of them, and what each has to be. The argument N has the halves 2N,
/// which is the lower one, and 2N + 1.
const SOME: &[(libc::c_long, &[(u32, Only)])] = &[
    (libc::SYS_fcntl, &[(2, Only::Of(OF_DESCRIPTORS))]),
    (libc::SYS_socket, &[(0, Only::Of(FAMILIES))]),
    (libc::SYS_ioctl, &[(2, Only::Of(CONTROLS))]),
    (libc::SYS_prctl, &[(0, Only::Of(PROCESS_OPTIONS))]),
    (libc::SYS_prlimit64, &[(0, Only::Of(NONE))]),
    (libc::SYS_clone, &[(0, Only::With(CLONE_THREAD))]),
    // PRIO_PROCESS, and the thread that asks.
    (libc::SYS_setpriority, &[(0, Only::Of(NONE)), (2, Only::Of(NONE))]),
    // Of an open file, and of no path.
    (libc::SYS_utimensat, &[(2, Only::Of(NONE)), (3, Only::Of(NONE))]),
    // A panic ends us.
    (libc::SYS_tgkill, &[(0, Only::Us)]),
];

/// How many calls there are.
pub(super) const COUNT: usize = CALLS.len() + SOME.len();

/// Instructions of the kernel's filters: load a word of what is known of the call, compare, end.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_BITS: u16 = 0x45;
const END: u16 = 0x06;
/// Where the processor and the first argument are; the number of the call is at 0. The lower half of an argument comes first.
const AT_PROCESSOR: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The filter.
fn filter(forbidden: Forbidden) -> Vec<sock_filter> {
    let no = match forbidden {
        Forbidden::Fails => ERROR | libc::EPERM.unsigned_abs(),
        Forbidden::Kills => KILL,
    };
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut steps =
        vec![step(LOAD, 0, 0, AT_PROCESSOR), step(IF_EQUAL, 1, 0, PROCESSOR), step(END, 0, 0, no), step(LOAD, 0, 0, 0)];
    // A tracer that takes a call away makes it -1, which does nothing.
    steps.extend([step(IF_EQUAL, 0, 1, u32::MAX), step(END, 0, 0, ALLOW)]);
    for call in CALLS {
        steps.extend([step(IF_EQUAL, 0, 1, number(*call)), step(END, 0, 0, ALLOW)]);
    }
    // Its arguments are in memory, where no filter sees them. A libc that is told that there is none takes `clone`.
    let none = ERROR | libc::ENOSYS.unsigned_abs();
    steps.extend([step(IF_EQUAL, 0, 1, number(libc::SYS_clone3)), step(END, 0, 0, none)]);
    let us = [std::process::id()];
    for (call, conditions) in SOME {
        let mut checks = Vec::new();
        for (half, only) in *conditions {
            checks.push(step(LOAD, 0, 0, AT_ARGUMENTS + 4 * half));
            let (code, values) = match only {
                Only::Of(values) => (IF_EQUAL, *values),
                Only::Us => (IF_EQUAL, &us[..]),
                Only::With(bits) => (IF_BITS, std::slice::from_ref(bits)),
            };
            // One that fits leads past the others, and past the end.
            for (past, value) in (1..=u8::MAX).take(values.len()).rev().zip(values) {
                checks.push(step(code, past, 0, *value));
            }
            checks.push(step(END, 0, 0, no));
        }
        checks.push(step(END, 0, 0, ALLOW));
        let past = u8::try_from(checks.len()).unwrap_or(u8::MAX);
        steps.push(step(IF_EQUAL, 0, past, number(*call)));
        steps.extend(checks);
    }
    steps.push(step(END, 0, 0, no));
    steps
}

/// From now on no thread of this process makes another call.
///
/// # Errors
/// What the kernel says; it may have no filters.
pub(super) fn forbid_others(forbidden: Forbidden) -> Result<(), String> {
    apply_filter_all_threads(&filter(forbidden)).map_err(|error| match error {
        Error::Prctl(error) | Error::Seccomp(error) => error.to_string(),
        _ => "another thread has a filter of its own".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::fs::File;
    use std::io::{Error, Read};
    use std::process::Command;
    use std::thread;

    /// What of this was allowed, in a thread that is confined.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let work = || {
            // Of this thread alone: others are tests too.
            seccompiler::apply_filter(&filter(Forbidden::Fails)).unwrap();
            work()
        };
        thread::spawn(work).join().unwrap()
    }

    #[test]
    fn a_confined_thread_reads_files_and_starts_threads_but_no_program() {
        let (read, joined, ran) = confined(|| {
            let mut text = String::new();
            let read = File::open("/proc/self/status").and_then(|mut file| file.read_to_string(&mut text));
            (read.is_ok(), thread::spawn(|| 7).join().unwrap(), Command::new("/bin/true").status())
        });
        assert_eq!((read, joined), (true, 7));
        assert_eq!(ran.map(drop).map_err(|error| error.raw_os_error()), Err(Some(libc::EPERM)));
    }

    #[test]
    fn a_confined_thread_gets_sockets_of_the_network_alone_and_its_threads_are_no_freer() {
        let failed = |made: Result<Socket, Error>| made.map(drop).map_err(|error| error.raw_os_error());
        let (tcp, packets, below) = confined(move || {
            let of = |family: i32| failed(Socket::new(Domain::from(family), Type::DGRAM, None));
            let below = thread::spawn(|| Command::new("/bin/true").status().map_err(|error| error.raw_os_error()));
            (of(libc::AF_INET), of(libc::AF_ALG), below.join().unwrap().map(drop))
        });
        assert_eq!(tcp, Ok(()));
        assert_eq!((packets, below), (Err(Some(libc::EPERM)), Err(Some(libc::EPERM))));
    }

    /// What the kernel makes of a call.
    fn verdict(call: libc::c_long, arguments: [u64; 3]) -> u32 {
        let mut words = vec![u32::try_from(call).unwrap(), PROCESSOR, 0, 0];
        words.extend(
            arguments
                .iter()
                .flat_map(|whole| [*whole & 0xffff_ffff, *whole >> 32].map(|half| u32::try_from(half).unwrap())),
        );
        let steps = filter(Forbidden::Fails);
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = &steps[at];
            let is_so = match step.code {
                LOAD => {
                    loaded = words[step.k as usize / 4];
                    false
                }
                IF_EQUAL => loaded == step.k,
                IF_BITS => loaded & step.k != 0,
                END => return step.k,
                other => panic!("{other}"),
            };
            at += 1 + usize::from(if is_so { step.jt } else { step.jf });
        }
    }

    #[test]
    fn calls_that_may_reach_others_are_allowed_for_ourselves_alone() {
        let us = u64::from(std::process::id());
        let somewhere = 0x7f00_0000_0000;
        for (call, arguments, is_allowed) in [
            (libc::SYS_tgkill, [us, 7, 6], true),
            (libc::SYS_tgkill, [us + 1, 7, 6], false),
            (libc::SYS_kill, [us, 6, 0], false),
            (libc::SYS_setpriority, [0, 0, 19], true),
            (libc::SYS_setpriority, [0, 1, 19], false),
            (libc::SYS_setpriority, [1, 0, 19], false),
            (libc::SYS_setpriority, [2, 0, 19], false),
            (libc::SYS_prlimit64, [0, 7, 0], true),
            (libc::SYS_prlimit64, [1, 7, 0], false),
            (libc::SYS_clone, [0x3d_0f00, 0, 0], true),
            (libc::SYS_clone, [17, 0, 0], false),
        ] {
            let expected = if is_allowed { ALLOW } else { ERROR | 1 };
            assert_eq!(verdict(call, arguments), expected, "{call} {arguments:?}");
        }
        // Signals of descriptors: F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY.
        for (command, is_allowed) in [
            (2, true),
            (3, true),
            (4, true),
            (1030, true),
            (8, false),
            (10, false),
            (15, false),
            (1024, false),
            (1026, false),
        ] {
            assert_eq!(verdict(libc::SYS_fcntl, [3, command, 1]) == ALLOW, is_allowed, "{command}");
        }
        // By a path, which another may have changed: no times, bits or owners.
        assert_eq!(verdict(libc::SYS_utimensat, [3, 0, 1]), ALLOW);
        assert_ne!(verdict(libc::SYS_utimensat, [3, somewhere, 1]), ALLOW);
        for call in [libc::SYS_fchmodat, libc::SYS_fchownat] {
            assert_ne!(verdict(call, [3, somewhere, 0]), ALLOW);
        }
        assert_eq!(verdict(libc::SYS_fchmod, [3, 0, 0]), ALLOW);
        // The last of a list, and what is behind one.
        assert_eq!(verdict(libc::SYS_socket, [16, 1, 0]), ALLOW);
        assert_ne!(verdict(libc::SYS_socket, [17, 1, 0]), ALLOW);
        assert_ne!(verdict(libc::SYS_execve, [0, 0, 0]), ALLOW);
    }

    #[test]
    fn each_call_is_listed_once_and_the_filter_is_short_enough_for_its_jumps() {
        let mut all: Vec<_> = CALLS.iter().chain(SOME.iter().map(|(call, _)| call)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), COUNT);
        let steps = filter(Forbidden::Kills);
        assert!(steps.len() < 4096, "the most that Linux takes: {}", steps.len());
        assert!(steps.iter().all(|step| step.jt < u8::MAX && step.jf < u8::MAX));
        assert_eq!(steps.last().map(|step| step.k), Some(KILL));
    }
}
