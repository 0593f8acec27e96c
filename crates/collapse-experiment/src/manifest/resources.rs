//! What a cluster is asked for.

/// What a scheduler is asked for, for each run: the table `[resources]`.
///
/// What is not given is estimated, or left to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Minutes until a job ends; a longer run goes on in the next.
    pub minutes: Option<u64>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Cores.
    pub cores: Option<usize>,
    /// Partition (a queue of Slurm).
    pub partition: Option<String>,
    /// Account that is charged.
    pub account: Option<String>,
}

impl Resources {
    /// These, and `others` where these say nothing.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            minutes: self.minutes.or(others.minutes),
            memory_mib: self.memory_mib.or(others.memory_mib),
            cores: self.cores.or(others.cores),
            partition: self.partition.or_else(|| others.partition.clone()),
            account: self.account.or_else(|| others.account.clone()),
        }
    }
}
