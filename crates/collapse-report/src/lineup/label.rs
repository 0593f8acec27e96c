//! Groups in words.

use collapse_results::{Group, Loss, ScheduleLength};

/// `ResNet18` for `resnet18`.
pub(crate) fn net_label(net: &str) -> String {
    net.strip_prefix("resnet")
        .map_or_else(|| net.to_owned(), |depth| format!("ResNet{depth}"))
}

pub(crate) fn schedule_label(schedule: ScheduleLength) -> &'static str {
    match schedule {
        ScheduleLength::Short => "short",
        ScheduleLength::Long => "long",
    }
}

/// A group in words, e.g. `ResNet18 · L2 · short`.
pub fn group_label(group: &Group) -> String {
    let mut words = vec![net_label(&group.net)];
    words.push(if group.l2 { "L2" } else { "no L2" }.to_owned());
    if group.loss == Loss::NeuralCollapse {
        words.push("NC loss".to_owned());
    }
    words.push(schedule_label(group.schedule).to_owned());
    if group.ablation && group.spectral_norm.is_none() {
        words.push("no SN".to_owned());
    }
    if !group.modified {
        words.push("no mod".to_owned());
    }
    words.extend(group.precision.clone());
    words.join(" · ")
}
