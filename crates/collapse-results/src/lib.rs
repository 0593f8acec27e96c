//! The schema of result files: runs, evaluations, tables and claims.
