//! Every metric there is: its name, its type and what it means. `docs/en/metrics.md` tells more.

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it means.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "counter", help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "gauge", help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "histogram", help }
}

/// Told by workers, and by the daemon for all of them together.
pub const WORKERS: &[Family] = &[
    gauge("bx_push_build_info", "1, with the versions of module and sidecar as labels."),
    gauge("bx_push_link_up", "Whether the worker that answers is linked to its sidecar."),
    gauge("bx_push_connections", "Connections that are open, by transport and wire format."),
    counter("bx_push_connections_opened_total", "Connections that came, by transport."),
    counter(
        "bx_push_publishes_total",
        "Publish requests by result: stored or live (delivered, not kept), else the status of the answer.",
    ),
    counter("bx_push_deliveries_total", "Messages written to, or queued for, a subscriber."),
    gauge("bx_push_queue_bytes", "Bytes that wait: for clients, for the link, for an answer."),
    gauge("bx_push_fanouts", "Messages that are being handed out to many subscribers."),
    counter("bx_push_drops_total", "Connections cut off, by reason."),
    counter("bx_push_signature_failures_total", "Signatures of channels that do not verify."),
    counter("bx_push_recoveries_asked_total", "Clients that returned with the id they had last."),
    counter("bx_push_recoveries_total", "Answers to returning clients, by result."),
    counter("bx_push_recovered_messages_total", "Messages that returning clients were sent."),
    counter("bx_push_postponed_total", "Times that a client had to wait with what it said."),
    counter("bx_push_link_failures_total", "Times that a link to the sidecar failed or broke."),
    gauge("bx_push_worker_channels", "Channels with a subscriber, summed over workers."),
    histogram(
        "bx_push_publish_duration_seconds",
        "From a publish request to its answer, in the worker.",
    ),
    histogram(
        "bx_push_delivery_latency_seconds",
        "From a publish request to the last write of its message in a worker of this host, sampled.",
    ),
];

/// Told by the daemon alone.
pub const SIDECAR: &[Family] = &[
    gauge("bx_push_workers", "Workers that are linked to the sidecar."),
    gauge(
        "bx_push_healthy",
        "Parts of the sidecar, named as push-sidecar health names them: 1 works.",
    ),
    gauge("bx_push_sidecar_channels", "Channels with a subscriber on this host."),
    gauge("bx_push_sidecar_resident_memory_bytes", "Memory of the sidecar."),
    gauge("bx_push_sidecar_link_queue_bytes", "Bytes that wait in the sidecar for workers."),
    gauge("bx_push_sidecar_store_bytes", "Bytes of messages in the memory store; 0 with Redis."),
    counter(
        "bx_push_sidecar_store_dropped_total",
        "Messages that the full memory store dropped before their time; 0 with Redis.",
    ),
    gauge("bx_push_sidecar_start_time_seconds", "When the sidecar started, Unix time."),
    counter("bx_push_sidecar_warnings_total", "Warnings and errors that the sidecar logged."),
    histogram(
        "bx_push_redis_command_duration_seconds",
        "From sending a Redis command to its answer.",
    ),
];

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Family> {
    WORKERS.iter().chain(SIDECAR).find(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HISTOGRAMS, SERIES};

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let all: Vec<&str> = WORKERS.iter().chain(SIDECAR).map(|family| family.name).collect();
        for family in WORKERS.iter().chain(SIDECAR) {
            let name = family.name;
            assert_eq!(all.iter().filter(|other| **other == name).count(), 1, "{name} twice");
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
            assert_eq!(
                family.kind == "histogram",
                name.ends_with("_seconds") && !name.contains("_time_"),
                "{name}"
            );
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(family.help.ends_with('.') && !family.help.contains(['\n', '\\']), "{name}");
        }
        for name in SERIES.iter().map(|series| series.name).chain(HISTOGRAMS) {
            assert!(WORKERS.iter().any(|family| family.name == name), "{name}");
        }
    }
}
