mod automaton;
mod everyday;
mod generator;
mod policies;
mod soundness;
