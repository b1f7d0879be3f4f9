//! What people ask of the thread: approvals, another policy, the end of the gate.

use super::Capture;
use crate::agent::AgentError;
use crate::agent::gate::Heart;
use crate::agent::policy::PolicyWatch;
use crate::agent::status::PolicyStatus;
use crate::audit::record::{Kind, Record};
use crate::clock::{boot_ns, unix_ns};
use crate::config::PolicyMode;
use crate::control::{self, Decided, Job, Reply};
use crate::gate::approvals::{ApprovalId, Approver, Decision};
use crate::judge::Rulebook;
use crate::pipeline::Command;
use crate::policy::Policy;

impl Capture {
    /// Answers what the control socket was asked.
    pub(super) fn asked(&mut self) -> Result<(), AgentError> {
        while let Some(queued) = self.requests.next() {
            let approver = queued.peer.approver();
            if let Some(refusal) = self.refused_for_its_tag(&queued) {
                queued.answer(refusal);
                continue;
            }
            let request = match &queued.job {
                Job::Request(request) => request,
                job => {
                    let reply = self.tag_job(job, &queued.peer)?;
                    queued.answer(reply);
                    continue;
                }
            };
            let reply = match request {
                control::Request::Approvals => Reply::of(&self.pipeline.approvals(boot_ns())),
                control::Request::Approve { id, reason } => {
                    self.decide(id, Decision::Approve, approver, reason.clone())
                }
                control::Request::Deny { id, reason } => {
                    self.decide(id, Decision::Deny, approver, reason.clone())
                }
                control::Request::GateOff => {
                    let by = approver.to_string();
                    self.gate_off(&by)?
                }
                control::Request::PolicyReload => {
                    let by = approver.to_string();
                    match self.policy.as_mut().map(PolicyWatch::read) {
                        Some(read) => self.take_policy(read, Some(&by))?,
                        None => Reply::error("this agent has no [policy]"),
                    }
                }
                control::Request::TagList => Reply::of(&self.tags.list()),
                control::Request::TagRemove { name, cgroup } => {
                    self.remove_tags(name, cgroup.as_deref(), &queued.peer)?
                }
                control::Request::Status => Reply::of(&self.shared.get()),
                // Its client's thread makes a job of it.
                control::Request::TagSet { .. } | control::Request::Exec { .. } => {
                    Reply::error("the agent lost its way with this request; please report this")
                }
            };
            queued.answer(reply);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        id: &ApprovalId,
        decision: Decision,
        approver: Approver,
        reason: Option<String>,
    ) -> Reply {
        match self
            .pipeline
            .decide(id, decision, approver, reason, boot_ns())
        {
            Ok(outcome) => Reply::of(&Decided::from(&outcome)),
            Err(error) => Reply::error(error),
        }
    }

    /// Puts a policy in force, or keeps the one that is; either way there is a record of it.
    pub(super) fn take_policy(
        &mut self,
        read: Result<Policy, String>,
        by: Option<&str>,
    ) -> Result<Reply, AgentError> {
        let Some(watch) = &mut self.policy else {
            return Ok(Reply::error("this agent has no [policy]"));
        };
        let policy = match read {
            Ok(policy) => policy,
            Err(why) => {
                tracing::error!("the policy stays as it was: {why}");
                let record = watch.record(Err(&why), by);
                self.pipeline.recorder().push(record);
                self.shared.update(|status| {
                    if let Some(policy) = &mut status.policy {
                        policy.refused = Some(why.clone());
                    }
                });
                return Ok(Reply::Error(why));
            }
        };
        watch.generation += 1;
        let record = watch.record(Ok(&policy), by);
        let generation = watch.generation;
        if let Some(gate) = &mut self.gate {
            gate.follow(&mut self.kernel, &policy)?;
        }
        self.pipeline.set_rulebook(Rulebook { policy, generation });
        // The kernel takes it up before anybody is told.
        if let Some(gate) = &mut self.gate {
            for command in self.pipeline.take_commands() {
                if let Command::Gate(command) = command {
                    gate.run(&mut self.kernel, command)?;
                }
            }
        }
        self.pipeline.recorder().push(record);
        self.tell_policy();
        tracing::info!(generation, "policy in force");
        Ok(Reply::of(&generation))
    }

    pub(super) fn tell_policy(&self) {
        let (Some(watch), Some(rulebook)) = (&self.policy, self.pipeline.rulebook()) else {
            return;
        };
        let policy = PolicyStatus {
            generation: rulebook.generation,
            sha256: rulebook.policy.sha256.to_string(),
            rules: rulebook.policy.rules.len() as u64,
            mode: match self.gate {
                Some(_) => watch.mode.name().to_owned(),
                None => PolicyMode::Observe.name().to_owned(),
            },
            refused: None,
        };
        self.shared.update(|status| status.policy = Some(policy));
    }

    /// Takes the gate away; verdicts are recorded from here on, and nothing is held.
    fn gate_off(&mut self, by: &str) -> Result<Reply, AgentError> {
        let Some(mut gate) = self.gate.take() else {
            return Ok(Reply::error(
                "this agent holds nothing: its policy only observes",
            ));
        };
        // What was refused before does not come in now.
        gate.end_refused(true);
        self.kernel.take_away()?;
        self.heart = match self.lossless {
            true => Some(Heart::lossless(&mut self.kernel)?),
            false => None,
        };
        self.pipeline.gate_off(boot_ns());
        if let Some(watch) = &mut self.policy {
            watch.mode = PolicyMode::Observe;
            let mut record = Record::new(Kind::Policy, unix_ns());
            record.policy.insert("by", by.into());
            record.policy.insert("event", "gate_off".into());
            record.policy.insert("generation", watch.generation.into());
            record.policy.insert("mode", watch.mode.name().into());
            self.pipeline.recorder().push(record);
        }
        self.tell_policy();
        tracing::warn!(by, "the gate was taken away: nothing is held any more");
        Ok(Reply::of(&"off"))
    }
}
