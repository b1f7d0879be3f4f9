//! What the agent tells the gate, and reads from it.

use std::io::Read as _;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use dbgov_common::gate::{Automaton, GateConfig, GateControl, GateState, MARK_RESUME};
use serde::Serialize;

use super::pin::{self, PinError, Pins};
use super::{Kernel, KernelError, load, take};

const CONFIG: &str = "GATE_CONFIG";
const HEARTBEAT: &str = "HEARTBEAT";
const GATES: &str = "GATES";
const CONTROL: &str = "GATE_CONTROL";
const AUTOMATA: &str = "AUTOMATA";

/// The gate's maps.
pub(super) struct GateMaps {
    config: Array<MapData, GateConfig>,
    heartbeat: Array<MapData, u64>,
    states: HashMap<MapData, u64, GateState>,
    controls: HashMap<MapData, u64, GateControl>,
    automata: Array<MapData, Automaton>,
    /// What a former agent had set, where its gate was adopted.
    adopted: Option<GateConfig>,
}

impl GateMaps {
    pub(super) fn take(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<GateMaps, KernelError> {
        let mut maps = GateMaps {
            config: take(ebpf, CONFIG, Array::try_from)?,
            heartbeat: take(ebpf, HEARTBEAT, Array::try_from)?,
            states: take(ebpf, GATES, HashMap::try_from)?,
            controls: take(ebpf, CONTROL, HashMap::try_from)?,
            automata: take(ebpf, AUTOMATA, Array::try_from)?,
            adopted: None,
        };
        let found = maps.config.get(&0, 0).unwrap_or_default();
        if found.mark != 0 {
            maps.adopted = Some(found);
        } else if let Some(pins) = pins {
            maps.adopt_other_layout(pins)?;
        }
        Ok(maps)
    }

    /// The settings of an agent whose maps are laid out otherwise hold until this one's are known. What it knew of its
    /// connections is lost: they read as older than the gate.
    fn adopt_other_layout(&mut self, pins: &Pins) -> Result<(), KernelError> {
        for dir in pins.other_layouts() {
            let Ok(config) = pinned_array::<GateConfig>(&dir, CONFIG) else {
                continue;
            };
            let beat = pinned_array::<u64>(&dir, HEARTBEAT).unwrap_or(0);
            if config.mark != 0 {
                self.heartbeat.set(0, beat, 0).map_err(error(HEARTBEAT))?;
                self.config.set(0, config, 0).map_err(error(CONFIG))?;
                self.adopted = Some(config);
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, cookie: u64) {
        let _ = self.states.remove(&cookie);
        let _ = self.controls.remove(&cookie);
    }

    pub(super) fn switch_off(&mut self) -> Result<(), KernelError> {
        let off = GateConfig::default();
        self.config.set(0, off, 0).map_err(error(CONFIG))
    }
}

fn error(name: &'static str) -> impl FnOnce(MapError) -> KernelError {
    move |source| KernelError::Map { name, source }
}

impl Kernel {
    /// What a former agent had set for the gate that this one adopted.
    pub fn adopted(&self) -> Option<GateConfig> {
        self.gate.adopted
    }

    /// The secret mark: of the adopted gate, else a new random one. Never zero, [`MARK_RESUME`] clear.
    pub fn mark(&self) -> Result<u32, KernelError> {
        if let Some(adopted) = self.adopted() {
            return Ok(adopted.mark);
        }
        loop {
            let mark = random()? & !MARK_RESUME;
            if mark != 0 {
                return Ok(mark);
            }
        }
    }

    /// Sets the gate, for the next packet. Let [`Kernel::beat`] come before, or the agent reads as down.
    pub fn set_gate_config(&mut self, config: GateConfig) -> Result<(), KernelError> {
        if config.enforcing | config.lossless != 0 && !load::has_gate() {
            return Err(KernelError::NoGate(load::kernel_release()));
        }
        self.gate.config.set(0, config, 0).map_err(error(CONFIG))
    }

    pub fn gate_config(&self) -> Result<GateConfig, KernelError> {
        self.gate.config.get(&0, 0).map_err(error(CONFIG))
    }

    /// Loads an automaton. The slot must be one that no connection is controlled by (nor the default class): the bytes
    /// are copied while programs may read them.
    pub fn load_automaton(&mut self, slot: u32, automaton: &Automaton) -> Result<(), KernelError> {
        let automata = &mut self.gate.automata;
        automata.set(slot, automaton, 0).map_err(error(AUTOMATA))
    }

    pub fn set_control(&mut self, cookie: u64, control: GateControl) -> Result<(), KernelError> {
        let controls = &mut self.gate.controls;
        controls.insert(cookie, control, 0).map_err(error(CONTROL))
    }

    pub fn control(&self, cookie: u64) -> Option<GateControl> {
        self.gate.controls.get(&cookie, 0).ok()
    }

    /// The connection is of the default class again. (The kernel does this itself when the connection ends.)
    pub fn remove_control(&mut self, cookie: u64) {
        let _ = self.gate.controls.remove(&cookie);
    }

    /// Every connection is of the default class again, also those that another agent has classified.
    pub fn remove_controls(&mut self) {
        let controls = &mut self.gate.controls;
        let cookies: Vec<u64> = controls.keys().filter_map(Result::ok).collect();
        for cookie in cookies {
            let _ = controls.remove(&cookie);
        }
    }

    pub fn gate_state(&self, cookie: u64) -> Option<GateState> {
        self.gate.states.get(&cookie, 0).ok()
    }

    /// Every connection the gate knows, for adoption.
    pub fn gates(&self) -> impl Iterator<Item = (u64, GateState)> + '_ {
        self.gate.states.iter().filter_map(Result::ok)
    }

    /// The agent is alive, at `boot_ns` (CLOCK_BOOTTIME).
    pub fn beat(&mut self, boot_ns: u64) -> Result<(), KernelError> {
        let heartbeat = &mut self.gate.heartbeat;
        heartbeat.set(0, boot_ns, 0).map_err(error(HEARTBEAT))
    }
}

fn random() -> Result<u32, KernelError> {
    let mut bytes = [0; 4];
    let path = Path::new("/dev/urandom");
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| PinError::File {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
    Ok(u32::from_ne_bytes(bytes))
}

/// Whether the agent beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Beating,
    Down,
}

/// What is pinned, readable without an agent. The secret mark is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateStatus {
    /// Hooks whose programs are pinned.
    pub hooks: Vec<String>,
    /// The maps are laid out as this build knows them; without, nothing below is known.
    pub readable: bool,
    pub enforcing: bool,
    /// While the agent is down, what triggers stays held.
    pub closed: bool,
    pub lossless: bool,
    pub agent: Option<AgentState>,
    /// Since the last heartbeat, milliseconds.
    pub heartbeat_age_ms: Option<u64>,
    /// Connections the gate knows, and those of them that are held.
    pub connections: u64,
    pub held: u64,
}

/// The pinned gate under `bpffs`; `hooks` is empty where there is none.
pub fn gate_status(bpffs: &Path, boot_ns: u64) -> Result<GateStatus, PinError> {
    let mut status = GateStatus {
        hooks: pin::hooks(bpffs),
        readable: false,
        enforcing: false,
        closed: false,
        lossless: false,
        agent: None,
        heartbeat_age_ms: None,
        connections: 0,
        held: 0,
    };
    let Some(dir) = pin::readable_maps(bpffs) else {
        return Ok(status);
    };
    let read = |path: &Path, source: MapError| PinError::Pin {
        path: path.to_owned(),
        source: source.into(),
    };
    let config: GateConfig = pinned_array(&dir, CONFIG).map_err(|e| read(&dir, e))?;
    let beat: u64 = pinned_array(&dir, HEARTBEAT).map_err(|e| read(&dir, e))?;
    let age = boot_ns.saturating_sub(beat);
    status.readable = true;
    status.enforcing = config.enforcing != 0;
    status.closed = config.closed != 0;
    status.lossless = config.lossless != 0;
    status.agent = Some(if age > config.heartbeat_timeout_ns {
        AgentState::Down
    } else {
        AgentState::Beating
    });
    status.heartbeat_age_ms = (beat != 0).then_some(age / 1_000_000);
    let states: HashMap<_, u64, GateState> = MapData::from_pin(dir.join(GATES))
        .and_then(|data| HashMap::try_from(Map::HashMap(data)))
        .map_err(|e| read(&dir, e))?;
    for (_, state) in states.iter().filter_map(Result::ok) {
        status.connections += 1;
        status.held += u64::from(state.passed != state.seen);
    }
    Ok(status)
}

fn pinned_array<T: aya::Pod>(dir: &Path, name: &str) -> Result<T, MapError> {
    let data = MapData::from_pin(dir.join(name))?;
    let array: Array<_, T> = Array::try_from(Map::Array(data))?;
    array.get(&0, 0)
}
