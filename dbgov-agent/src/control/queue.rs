//! Requests for a thread that has other things to do (the capture thread), and its answers back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use nix::sys::eventfd::EventFd;

use super::{Peer, Reply, Request};
use crate::glob::Glob;
use crate::identity::tags::NewTag;

/// Requests that wait for the thread; more clients than this are not served at once.
const WAITING_MAX: usize = 32;
/// How long a client waits for the thread. It looks several times a second unless a disk hangs.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A request is either begun by its thread or given up by its client, never both: whoever is told that nothing was done
/// can rely on it.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The end of the control threads.
#[derive(Debug, Clone)]
pub struct Queue {
    requests: SyncSender<Queued>,
    wake: Arc<EventFd>,
}

/// The end of the thread that answers.
#[derive(Debug)]
pub struct Requests(Receiver<Queued>);

/// What the thread is asked to do.
#[derive(Debug)]
pub enum Job {
    Request(Request),
    /// A cgroup was found for [`Request::TagSet`].
    Tag(NewTag),
    /// A cgroup was made for [`Request::Exec`], and its process is about to be moved there. Answered with the tag's id.
    Run(Box<NewRun>),
    /// The process is there ...
    Moved(u32),
    /// ... or could not be moved.
    NotMoved(u32),
}

/// A run that is about to start.
#[derive(Debug)]
pub struct NewRun {
    pub tag: NewTag,
    /// Tags that may be exchanged for it; a process that has another one keeps that.
    pub from: Vec<Glob>,
}

/// A job to be answered.
#[derive(Debug)]
pub struct Queued {
    pub peer: Peer,
    pub job: Job,
    answer: SyncSender<Reply>,
    state: Arc<AtomicU8>,
}

impl Queue {
    /// `wake` is written to with each request.
    pub fn new(wake: Arc<EventFd>) -> (Queue, Requests) {
        let (requests, receiver) = sync_channel(WAITING_MAX);
        (Queue { requests, wake }, Requests(receiver))
    }

    /// Waits for the answer.
    pub fn ask(&self, peer: &Peer, job: Job) -> Reply {
        self.ask_within(peer, job, TIMEOUT)
    }

    fn ask_within(&self, peer: &Peer, job: Job, timeout: Duration) -> Reply {
        let (answer, answers) = sync_channel(1);
        let state = Arc::new(AtomicU8::new(WAITING));
        let queued = Queued {
            peer: peer.clone(),
            job,
            answer,
            state: Arc::clone(&state),
        };
        if self.requests.try_send(queued).is_err() {
            return Reply::error("the agent is busy or about to stop; try again");
        }
        let _ = self.wake.write(1);
        match answers.recv_timeout(timeout) {
            Ok(reply) => return reply,
            Err(RecvTimeoutError::Disconnected) => return Reply::error("the agent is stopping"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if move_on(&state, GIVEN_UP) {
            return Reply::error("the agent is too busy to answer; nothing was done, try again");
        }
        // Begun: its answer cannot be far.
        answers.recv_timeout(timeout).unwrap_or_else(|_| {
            Reply::error("the agent began with it but does not answer; see `dbgov status`")
        })
    }
}

impl Requests {
    /// The next request whose client still waits.
    pub fn next(&self) -> Option<Queued> {
        loop {
            let queued = self.0.try_recv().ok()?;
            if move_on(&queued.state, BEGUN) {
                return Some(queued);
            }
        }
    }
}

impl Queued {
    pub fn answer(self, reply: Reply) {
        // A client that has gone is its own concern.
        let _ = self.answer.try_send(reply);
    }
}

fn move_on(state: &AtomicU8, to: u8) -> bool {
    state
        .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EfdFlags;

    fn queue() -> (Queue, Requests, Arc<EventFd>, Peer) {
        let wake =
            Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK).expect("an eventfd"));
        let (queue, requests) = Queue::new(Arc::clone(&wake));
        let peer = Peer {
            pid: 1,
            uid: 0,
            user: Some("root".to_owned()),
            permitted: true,
            groups: vec![0],
            cgroup: None,
            process: None,
        };
        (queue, requests, wake, peer)
    }

    #[test]
    fn a_request_crosses_and_wakes() {
        let (queue, requests, wake, peer) = queue();
        let asking = std::thread::spawn(move || queue.ask(&peer, Job::Request(Request::Status)));
        while wake.read().is_err() {
            std::thread::yield_now();
        }
        let queued = requests.next().unwrap();
        assert!(matches!(queued.job, Job::Request(Request::Status)));
        assert_eq!(queued.peer.uid, 0);
        queued.answer(Reply::of(&7));
        assert_eq!(asking.join().unwrap(), Reply::Ok(7.into()));
    }

    #[test]
    fn what_was_given_up_is_not_begun() {
        let (queue, requests, _wake, peer) = queue();
        let reply = queue.ask_within(
            &peer,
            Job::Request(Request::GateOff),
            Duration::from_millis(5),
        );
        assert!(matches!(reply, Reply::Error(words) if words.contains("nothing was done")));
        assert!(requests.next().is_none());
    }

    #[test]
    fn the_queue_is_bounded_and_a_thread_that_ended_answers() {
        let (queue, requests, _wake, peer) = queue();
        for _ in 0..WAITING_MAX {
            queue.ask_within(&peer, Job::Request(Request::Status), Duration::ZERO);
        }
        let full = queue.ask_within(&peer, Job::Request(Request::Status), Duration::ZERO);
        assert!(matches!(full, Reply::Error(words) if words.contains("busy")));
        drop(requests);
        assert!(matches!(
            queue.ask(&peer, Job::Request(Request::Status)),
            Reply::Error(_)
        ));
    }
}
