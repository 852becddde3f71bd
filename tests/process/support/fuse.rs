//! A file system of our own (FUSE), spoken straight at `/dev/fuse` by a thread: one folder of files in memory, which
//! answers what a test wants. What is in it is seen without asking the kernel.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use super::conditions::{Dir, until};
use crate::common::patience::{Collected, Guard};
use crate::common::skip::not_here;

pub(crate) const EIO: i32 = 5;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EFBIG: i32 = 27;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const ENOTCONN: i32 = 107;
pub(crate) const ESTALE: i32 = 116;
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENOSYS: i32 = 38;

/// What the kernel asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Lookup,
    GetAttr,
    SetAttr,
    Unlink,
    Rename,
    Open,
    Create,
    Read,
    Write,
    Fsync,
    FsyncDir,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) op: Op,
    /// The open file that it is asked of, if of one: the first that was opened is 1.
    pub(crate) handle: Option<u64>,
    /// Where a write begins, or the size that the file is to have.
    pub(crate) at: u64,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Fine,
    Error(i32),
    /// So many bytes of a write are taken.
    Short(usize),
}

type Answers = Box<dyn FnMut(Asked) -> Answer + Send>;

struct Node {
    bytes: Vec<u8>,
    mode: u32,
    nlink: u32,
}

struct World {
    /// The first is the folder, and has number 1.
    nodes: Vec<Node>,
    names: BTreeMap<Vec<u8>, u64>,
    /// Which file each handle is of.
    handles: Vec<u64>,
    answers: Answers,
    /// Each that was asked, and whether that went well.
    asked: Vec<(Asked, bool)>,
    /// Whether files that are there have a count of names.
    counts_names: bool,
    /// For how long the kernel may remember what a file looks like.
    remembered_seconds: u64,
}

/// The file system, mounted in a name space of its own, which is gone with the process that holds it.
pub(crate) struct Fuse {
    holder: Guard,
    dir: Dir,
    world: Arc<Mutex<World>>,
    _ours: UnixStream,
}

impl Fuse {
    /// None, and a word, where none can be mounted.
    pub(crate) fn mount() -> Option<Self> {
        let dir = Dir::new();
        let Ok(device) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
            not_here("/dev/fuse can't be opened here");
            return None;
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        // The holder ends with our end of its stdout, and keeps nothing of the device.
        let script = "mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0,allow_other lumberjack \"$0\" \
                      && echo mounted && exec cat <&1 >/dev/null";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(dir.path());
        command.stdin(Stdio::from(OwnedFd::from(device.try_clone().unwrap()))).stderr(Stdio::null());
        command.stdout(Stdio::from(OwnedFd::from(theirs)));
        let spawned = Guard::spawn(&mut command);
        drop(command);
        let Ok(mut holder) = spawned else {
            not_here("unshare can't be run here");
            return None;
        };
        let world = Arc::new(Mutex::new(World::new()));
        let shared = Arc::clone(&world);
        std::thread::spawn(move || serve(device, &shared));
        let word = Collected::from(ours.try_clone().unwrap());
        let is_mounted = until("a word of the mount, or its end", || match word.text().as_str() {
            "mounted\n" => Ok(true),
            _ if !holder.is_running() => Ok(false),
            other => Err(other.to_owned()),
        });
        if !is_mounted {
            not_here("no FUSE file system can be mounted here");
            return None;
        }
        Some(Self { holder, dir, world, _ours: ours })
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("/proc/{}/root{}", self.holder.pid(), self.dir.file(name))
    }

    /// From now on this is what is answered.
    pub(crate) fn answer(&self, answers: impl FnMut(Asked) -> Answer + Send + 'static) {
        self.world.lock().unwrap().answers = Box::new(answers);
    }

    /// From now on all is fine.
    pub(crate) fn be_fine(&self) {
        self.answer(|_| Answer::Fine);
    }

    /// All files that are open now answer only this from now on, whatever is asked of them.
    pub(crate) fn kill_handles(&self, errno: i32) {
        let dead = self.world.lock().unwrap().handles.len() as u64;
        self.answer(move |asked| match asked.handle {
            Some(handle) if handle <= dead => Answer::Error(errno),
            _ => Answer::Fine,
        });
    }

    /// Files have no count of names, as with some file systems.
    pub(crate) fn count_no_names(&self) {
        self.world.lock().unwrap().counts_names = false;
    }

    /// What a file looks like is answered from the kernel's memory for an hour.
    pub(crate) fn be_remembered(&self) {
        self.world.lock().unwrap().remembered_seconds = 3600;
    }

    /// The names that there are go, as with another stick in the place of this one; the files stay for who has them open.
    pub(crate) fn exchange(&self) {
        self.world.lock().unwrap().names.clear();
    }

    /// What is in a file; None if there is none.
    pub(crate) fn inside(&self, name: &str) -> Option<String> {
        let world = self.world.lock().unwrap();
        let node = *world.names.get(name.as_bytes())?;
        Some(String::from_utf8_lossy(&world.nodes[place(node)].bytes).into_owned())
    }

    /// All that was asked, and whether it went well.
    pub(crate) fn asked(&self, op: Op) -> Vec<(Asked, bool)> {
        self.world.lock().unwrap().asked.iter().filter(|(asked, _)| asked.op == op).copied().collect()
    }

    /// The handles of a file's descriptors, the newest last.
    pub(crate) fn handles_of(&self, name: &str) -> Vec<u64> {
        let world = self.world.lock().unwrap();
        let Some(node) = world.names.get(name.as_bytes()) else { return Vec::new() };
        (1..).zip(&world.handles).filter(|(_, of)| *of == node).map(|(handle, _)| handle).collect()
    }
}

fn place(node: u64) -> usize {
    usize::try_from(node - 1).unwrap()
}

/// Bytes of a request, read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(count);
        self.0 = rest;
        first
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.bytes(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes(8).try_into().unwrap())
    }

    /// A name with its zero.
    fn name(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap();
        let name = self.bytes(end);
        self.bytes(1);
        name
    }
}

/// Bytes of an answer.
#[derive(Default)]
struct Output(Vec<u8>);

impl Output {
    fn u32(mut self, values: &[u32]) -> Self {
        values.iter().for_each(|value| self.0.extend(value.to_ne_bytes()));
        self
    }

    fn u64(mut self, values: &[u64]) -> Self {
        values.iter().for_each(|value| self.0.extend(value.to_ne_bytes()));
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

fn serve(mut device: File, world: &Mutex<World>) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = match device.read(&mut buffer) {
            Ok(count) => count,
            // A request that was taken back.
            Err(error) if error.kind() == ErrorKind::Interrupted || error.raw_os_error() == Some(ENOENT) => continue,
            // Before the mount nothing comes; after it, this is the end.
            Err(error) if error.raw_os_error() == Some(1) => {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
                continue;
            }
            Err(_) => return,
        };
        let mut input = Input(&buffer[..count]);
        let (_, opcode, unique, node) = (input.u32(), input.u32(), input.u64(), input.u64());
        input.bytes(16);
        let Some(answer) = world.lock().unwrap().act(opcode, node, input) else { continue };
        let (error, output) = answer.map_or_else(|errno| (-errno, Vec::new()), |output| (0, output.0));
        let len = u32::try_from(16 + output.len()).unwrap();
        let header = Output::default().u32(&[len]).bytes(&error.to_ne_bytes()).u64(&[unique]).0;
        // Who asked may have gone.
        let _ = device.write(&[header, output].concat());
    }
}

/// What `statfs` says: there is room.
fn room() -> Output {
    Output::default().u64(&[1 << 20; 5]).u32(&[4096, 255, 4096, 0]).u32(&[0; 6])
}

/// What the first word of the kernel is answered: version 7.31, and at most 128 KiB a write.
fn terms() -> Output {
    Output::default().u32(&[7, 31, 0, 0, 0x000c_000c, 128 * 1024, 1]).u32(&[32, 0]).u32(&[0; 7])
}

impl World {
    fn new() -> Self {
        let folder = Node { bytes: Vec::new(), mode: 0o040_755, nlink: 2 };
        Self {
            nodes: vec![folder],
            names: BTreeMap::new(),
            handles: Vec::new(),
            answers: Box::new(|_| Answer::Fine),
            asked: Vec::new(),
            counts_names: true,
            remembered_seconds: 0,
        }
    }

    fn ask(&mut self, op: Op, handle: Option<u64>, at: u64) -> Result<usize, i32> {
        let asked = Asked { op, handle, at };
        let answer = (self.answers)(asked);
        self.asked.push((asked, !matches!(answer, Answer::Error(_))));
        match answer {
            Answer::Fine => Ok(usize::MAX),
            Answer::Error(errno) => Err(errno),
            Answer::Short(count) => Ok(count),
        }
    }

    /// None if nobody waits for an answer.
    fn act(&mut self, opcode: u32, node: u64, input: Input<'_>) -> Option<Result<Output, i32>> {
        match opcode {
            // Forget, interrupt, forget many.
            2 | 36 | 42 => None,
            _ => Some(self.answer(opcode, node, input)),
        }
    }

    fn answer(&mut self, opcode: u32, node: u64, mut input: Input<'_>) -> Result<Output, i32> {
        match opcode {
            1 => {
                self.ask(Op::Lookup, None, 0)?;
                let found = *self.names.get(input.name()).ok_or(ENOENT)?;
                Ok(self.entry(found))
            }
            3 => {
                let (flags, _, handle) = (input.u32(), input.u32(), input.u64());
                self.ask(Op::GetAttr, (flags & 1 != 0).then_some(handle), 0)?;
                Ok(self.attributes(node))
            }
            4 => self.set_attributes(node, input),
            10 => {
                self.ask(Op::Unlink, None, 0)?;
                let gone = self.names.remove(input.name()).ok_or(ENOENT)?;
                self.nodes[place(gone)].nlink = 0;
                Ok(Output::default())
            }
            12 | 45 => {
                self.ask(Op::Rename, None, 0)?;
                input.bytes(if opcode == 12 { 8 } else { 16 });
                let (from, to) = (input.name(), input.name());
                let moved = self.names.remove(from).ok_or(ENOENT)?;
                if let Some(gone) = self.names.insert(to.to_owned(), moved) {
                    self.nodes[place(gone)].nlink = 0;
                }
                Ok(Output::default())
            }
            14 => {
                self.ask(Op::Open, None, 0)?;
                Ok(self.open(node))
            }
            15 | 16 => self.read_or_write(opcode == 16, node, input),
            17 => Ok(room()),
            20 | 30 => {
                let handle = input.u64();
                let op = if opcode == 20 { Op::Fsync } else { Op::FsyncDir };
                self.ask(op, (opcode == 20).then_some(handle), 0)?;
                Ok(Output::default())
            }
            // Release, flush, release of a folder.
            18 | 25 | 29 => Ok(Output::default()),
            26 => Ok(terms()),
            27 => Ok(Output::default().u64(&[0]).u32(&[0, 0])),
            28 => {
                let (_, offset, _) = (input.u64(), input.u64(), input.u32());
                Ok(self.list(offset))
            }
            35 => self.create(input),
            _ => Err(ENOSYS),
        }
    }

    fn create(&mut self, mut input: Input<'_>) -> Result<Output, i32> {
        let (_, mode, _, _) = (input.u32(), input.u32(), input.u32(), input.u32());
        let name = input.name();
        if self.names.contains_key(name) {
            return Err(EEXIST);
        }
        self.ask(Op::Create, None, 0)?;
        self.nodes.push(Node { bytes: Vec::new(), mode, nlink: 1 });
        let made = self.nodes.len() as u64;
        self.names.insert(name.to_owned(), made);
        let entry = self.entry(made);
        Ok(entry.bytes(&self.open(made).0))
    }

    fn set_attributes(&mut self, node: u64, mut input: Input<'_>) -> Result<Output, i32> {
        let (valid, _, handle, size) = (input.u32(), input.u32(), input.u64(), input.u64());
        input.bytes(8 + 3 * 8 + 3 * 4);
        let mode = input.u32();
        self.ask(Op::SetAttr, (valid & 0x40 != 0).then_some(handle), size)?;
        let found = &mut self.nodes[place(node)];
        if valid & 1 != 0 {
            found.mode = mode;
        }
        if valid & 8 != 0 {
            found.bytes.resize(usize::try_from(size).unwrap(), 0);
        }
        Ok(self.attributes(node))
    }

    fn read_or_write(&mut self, is_write: bool, node: u64, mut input: Input<'_>) -> Result<Output, i32> {
        let (handle, offset, size) = (input.u64(), input.u64(), input.u32());
        let taken = self.ask(if is_write { Op::Write } else { Op::Read }, Some(handle), offset)?;
        input.bytes(20);
        let (at, size) = (usize::try_from(offset).unwrap(), usize::try_from(size).unwrap());
        let inside = &mut self.nodes[place(node)].bytes;
        if !is_write {
            let rest = inside.get(at..).unwrap_or_default();
            return Ok(Output(rest[..size.min(rest.len())].to_vec()));
        }
        let bytes = &input.bytes(size)[..size.min(taken)];
        inside.resize(inside.len().max(at + bytes.len()), 0);
        inside[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(Output::default().u32(&[u32::try_from(bytes.len()).unwrap(), 0]))
    }

    /// What is read and written goes past the kernel's own memory.
    fn open(&mut self, node: u64) -> Output {
        self.handles.push(node);
        Output::default().u64(&[self.handles.len() as u64]).u32(&[1, 0])
    }

    fn look(&self, node: u64) -> Output {
        let Node { bytes, mode, nlink } = &self.nodes[place(node)];
        let size = bytes.len() as u64;
        let nlink = if self.counts_names { *nlink } else { 0 };
        Output::default()
            .u64(&[node, size, size.div_ceil(512), 0, 0, 0])
            .u32(&[0, 0, 0, *mode, nlink, 0, 0, 0, 4096, 0])
    }

    fn attributes(&self, node: u64) -> Output {
        Output::default().u64(&[self.remembered_seconds]).u32(&[0, 0]).bytes(&self.look(node).0)
    }

    fn entry(&self, node: u64) -> Output {
        // A name is asked for each time.
        Output::default().u64(&[node, 0, 0, self.remembered_seconds]).u32(&[0, 0]).bytes(&self.look(node).0)
    }

    fn list(&self, offset: u64) -> Output {
        let all = (1..).zip(&self.names).skip(usize::try_from(offset).unwrap());
        all.fold(Output::default(), |output, (number, (name, node))| {
            let padding = vec![0; name.len().next_multiple_of(8) - name.len()];
            let output = output.u64(&[*node, number]).u32(&[u32::try_from(name.len()).unwrap(), 8]);
            output.bytes(name).bytes(&padding)
        })
    }
}
