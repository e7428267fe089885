//! Child processes that cannot outlive the tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use anyhow::{Context, Result, bail};

/// How much of a log a failure shows.
const TAIL_LINES: usize = 25;

/// A running program with its log. Killed when dropped.
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `program` with output and errors going to `NAME.log` in `directory`.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[String], directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = bound_to_us(program);
        command
            .args(arguments)
            .current_dir(directory)
            // Caches and configuration of the person who runs the tests stay out of it.
            .env("HOME", directory)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = spawn(command).with_context(|| format!("starting {name} ({})", program.display()))?;
        Ok(Self { name: name.to_owned(), log, child: Mutex::new(child) })
    }

    /// An error with the end of the log if the program has ended.
    pub(crate) fn must_be_alive(&self) -> Result<()> {
        match self.child().try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}\n{}", self.name, self.tail()),
        }
    }

    /// The end of the log, headed by where all of it lies.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n");
        format!("--- the end of {} ---\n{end}", self.log.display())
    }

    /// Everything the program has written so far.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Asks the program to end, as the kubelet does (SIGTERM), and returns at once.
    pub(crate) fn ask_to_end(&self) -> Result<()> {
        let id = self.child().id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().context("running kill")?;
        if !status.success() {
            bail!("kill -TERM {id}: {status}");
        }
        Ok(())
    }

    /// How the program ended, or `None` while it runs.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child().try_wait()?)
    }

    /// Kills the program and waits until it is gone. Harmless when it has ended already.
    pub(crate) fn kill(&self) {
        let mut child = self.child();
        // Both fail only when there is nothing left to kill.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that the kernel kills when we die, however we die (Linux with util-linux; elsewhere `Drop` must do).
fn bound_to_us(program: &Path) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let available = SETPRIV.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        probe.args(["--pdeathsig", "KILL", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    if !available {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Spawns from one thread that lives as long as this process: the kernel's "parent death" is the end of the spawning
/// *thread*, and test threads end before the programs they start should.
fn spawn(command: Command) -> Result<Child> {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Nobody waits for the answer only if the asking thread died.
                let _ = answer.send(command.spawn());
            }
        });
        requests
    });
    let (sender, receiver) = mpsc::channel();
    spawner.send((command, sender)).context("the spawning thread is gone")?;
    Ok(receiver.recv().context("the spawning thread is gone")??)
}
