mod automaton;
mod generator;
mod policies;
mod soundness;
