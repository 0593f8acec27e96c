//! Checks the implementation against folders of independent reference numbers.
