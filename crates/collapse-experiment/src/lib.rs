//! Groups and seeds, the run store, planning, launching and evaluation of finished runs.
