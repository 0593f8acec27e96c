//! How near the networks must come to the references.

/// The tolerances of one precision and architecture.
pub(super) struct Tolerance {
    pub(super) double: bool,
    pub(super) deep: bool,
}

impl Tolerance {
    pub(super) fn pick(&self, double: f64, shallow: f64, deep: f64) -> f64 {
        match (self.double, self.deep) {
            (true, _) => double,
            (false, false) => shallow,
            (false, true) => deep,
        }
    }

    /// Losses of the three steps; `None` where the trajectory is chaotic.
    pub(super) fn losses(&self, l2: bool, rate: f64) -> [Option<f64>; 3] {
        if self.double {
            let loss = if self.deep && !l2 && rate > 0.05 {
                1e-8
            } else {
                1e-9
            };
            return [Some(loss); 3];
        }
        let small = rate < 0.05;
        let [first, second, third] = match (self.deep, l2, small) {
            (false, true, true) => [1e-6, 1e-6, 1e-6],
            (false, true, false) => [1e-6, 5e-6, 5e-5],
            (false, false, true) => [1e-6, 1e-4, 1e-3],
            (false, false, false) => [1e-6, 3e-4, 1e-2],
            (true, true, true) => [1e-6, 1e-4, 1e-3],
            (true, true, false) => [1e-6, 5e-4, 5e-3],
            (true, false, _) => return [Some(1e-5), None, None],
        };
        [Some(first), Some(second), Some(third)]
    }

    /// Norms of the parameters after the steps and logits after the last.
    pub(super) fn norms_and_logits(&self, l2: bool, rate: f64) -> (Option<f64>, Option<f64>) {
        match (self.double, self.deep, l2, rate > 0.05) {
            (true, true, false, true) => (Some(1e-7), Some(1e-6)),
            (true, ..) => (Some(1e-9), Some(1e-9)),
            (false, false, true, true) => (Some(2e-4), None),
            (false, false, true, false) => (Some(1e-5), None),
            _ => (None, None),
        }
    }
}
