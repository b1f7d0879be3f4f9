//! The controls of three catalogues, and which part of a report speaks to each.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Catalogue {
    /// AICPA Trust Services Criteria (2017, points of focus of 2022)
    Soc2,
    /// HIPAA Security Rule, 45 CFR Part 164 Subpart C
    Hipaa,
    /// FedRAMP: NIST SP 800-53 Revision 5
    Fedramp,
}

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Access,
    Privileged,
    Denials,
    Approvals,
    Changes,
    Coverage,
    Integrity,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Control {
    pub id: &'static str,
    pub name: &'static str,
    /// Where the report has what speaks to it.
    pub parts: &'static [Part],
}

impl Catalogue {
    pub fn title(self) -> &'static str {
        match self {
            Catalogue::Soc2 => "SOC 2 (AICPA Trust Services Criteria)",
            Catalogue::Hipaa => "HIPAA Security Rule (45 CFR Part 164 Subpart C)",
            Catalogue::Fedramp => "FedRAMP (NIST SP 800-53 Revision 5)",
        }
    }

    pub fn controls(self) -> &'static [Control] {
        match self {
            Catalogue::Soc2 => &SOC2,
            Catalogue::Hipaa => &HIPAA,
            Catalogue::Fedramp => &FEDRAMP,
        }
    }
}

const fn control(id: &'static str, name: &'static str, parts: &'static [Part]) -> Control {
    Control { id, name, parts }
}

use Part::{Access, Approvals, Changes, Coverage, Denials, Integrity, Privileged};

const SOC2: [Control; 7] = [
    control(
        "CC6.1",
        "Logical access security over protected information assets",
        &[Access, Denials],
    ),
    control(
        "CC6.2",
        "Users are registered and authorized before access is granted, and removed",
        &[Privileged, Changes],
    ),
    control(
        "CC6.3",
        "Access is granted, changed and removed by role; least privilege, segregation of duties",
        &[Privileged, Approvals],
    ),
    control(
        "CC6.6",
        "Measures against threats from outside the system's boundaries",
        &[Denials, Coverage],
    ),
    control(
        "CC7.2",
        "Components are monitored for anomalies that may be security events",
        &[Denials, Coverage],
    ),
    control(
        "CC7.3",
        "Security events are evaluated",
        &[Denials, Approvals, Integrity],
    ),
    control(
        "CC8.1",
        "Changes to data, software and infrastructure are authorized, documented and approved",
        &[Changes, Approvals, Privileged],
    ),
];

const HIPAA: [Control; 6] = [
    control(
        "164.308(a)(1)(ii)(D)",
        "Information system activity review",
        &[Access, Denials, Integrity],
    ),
    control(
        "164.308(a)(5)(ii)(C)",
        "Log-in monitoring",
        &[Denials, Access],
    ),
    control(
        "164.312(a)(1)",
        "Access control",
        &[Access, Denials, Approvals],
    ),
    control(
        "164.312(b)",
        "Audit controls",
        &[Access, Privileged, Coverage, Integrity],
    ),
    control(
        "164.312(c)(1)",
        "Integrity: protection from improper alteration or destruction",
        &[Privileged, Integrity],
    ),
    control(
        "164.312(d)",
        "Person or entity authentication",
        &[Access, Changes],
    ),
];

const FEDRAMP: [Control; 14] = [
    control("AC-2", "Account Management", &[Privileged, Changes]),
    control("AC-3", "Access Enforcement", &[Access, Denials]),
    control(
        "AC-6(9)",
        "Least Privilege: Log Use of Privileged Functions",
        &[Privileged],
    ),
    control("AU-2", "Event Logging", &[Coverage]),
    control("AU-3", "Content of Audit Records", &[Access]),
    control(
        "AU-5",
        "Response to Audit Logging Process Failures",
        &[Coverage],
    ),
    control(
        "AU-6",
        "Audit Record Review, Analysis, and Reporting",
        &[Access, Denials],
    ),
    control("AU-9", "Protection of Audit Information", &[Integrity]),
    control("AU-10", "Non-repudiation", &[Integrity, Approvals]),
    control("AU-11", "Audit Record Retention", &[Coverage, Integrity]),
    control("AU-12", "Audit Record Generation", &[Coverage]),
    control(
        "CM-3",
        "Configuration Change Control",
        &[Changes, Approvals],
    ),
    control(
        "CM-5",
        "Access Restrictions for Change",
        &[Changes, Denials],
    ),
    control("SI-4", "System Monitoring", &[Denials, Coverage]),
];
