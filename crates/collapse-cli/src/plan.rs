//! `reproduce --plan`: what a scale will take, in words.

use std::fmt::Write as _;

use collapse_experiment::Estimate;

use crate::progress::duration;

/// The estimate as text of some lines.
pub fn describe(plan: &Estimate) -> String {
    let mut text = String::new();
    let width = plan.groups.iter().map(|group| group.group.len()).max();
    let width = width.unwrap_or(0).max("group".len());
    let _ = writeln!(
        text,
        "{:<width$} {:>5} {:>5} {:>10} {:>12} {:>12} {:>10} {:>10}",
        "group", "runs", "done", "step", "measuring", "evaluating", "one run", "on disk"
    );
    for group in &plan.groups {
        let _ = writeln!(
            text,
            "{:<width$} {:>5} {:>5} {:>10} {:>12} {:>12} {:>10} {:>10}",
            group.group,
            group.runs,
            group.done,
            seconds(group.step_seconds),
            seconds(group.measure_seconds),
            seconds(group.evaluate_seconds),
            duration(group.run_seconds),
            bytes(group.disk_bytes),
        );
    }
    let _ = write!(
        text,
        "\nScale {}: {} runs, {} done; {} images to train on, {} to measure\n",
        plan.scale,
        plan.runs,
        plan.done,
        thousands(plan.trained_images),
        thousands(plan.measured_images)
    );
    let percent = 100.0 * plan.error;
    let _ = writeln!(
        text,
        "Time here:  {} ± {percent:.0} % ({:.1} h; {} on {} cores, kernels {}, {} at a time)",
        duration(plan.seconds),
        plan.seconds / 3600.0,
        plan.maker.processor,
        plan.cores,
        plan.maker.kernel_path,
        match plan.jobs {
            1 => "one run".to_owned(),
            n => format!("{n} runs"),
        }
    );
    let gpu = match plan.gpu_seconds {
        Some(seconds) => format!("{} for training alone", duration(seconds)),
        None => "unknown (no graphics processor was measured)".to_owned(),
    };
    let _ = writeln!(text, "On a GPU:   {gpu}");
    let free = match plan.disk_free {
        Some(free) if free < plan.disk_bytes => format!("; ONLY {} ARE FREE", bytes(free)),
        Some(free) => format!("; {} are free", bytes(free)),
        None => String::new(),
    };
    let _ = writeln!(text, "Disk:       {}{free}", bytes(plan.disk_bytes));
    let _ = writeln!(text, "Memory:     {}", bytes(plan.memory_bytes));
    text
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", 1000.0 * seconds)
    } else {
        format!("{seconds:.1} s")
    }
}

fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 {
        format!("{mebibytes:.1} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_one_would() {
        assert_eq!(thousands(1_985_850_000), "1,985,850,000");
        assert_eq!(thousands(45), "45");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(bytes(1 << 19), "0.5 MiB");
        assert_eq!(seconds(0.0123), "12.3 ms");
    }
}
