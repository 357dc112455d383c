//! Every metric, in one place.
//!
//! Labels come from the configuration or from fixed lists, never from a request, so their number
//! is bounded. Code on the request path keeps the handles that it found once.

use std::sync::OnceLock;

use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// From a tenth of a millisecond, what the gateway itself may take, to ten seconds.
const SECONDS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
];

/// The program's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by `api` and outcome `code`.
    pub requests: IntCounterVec,
    /// Verdicts by `strategy`, `method` and `reason`.
    pub verdicts: IntCounterVec,
    /// Whole requests.
    pub request_seconds: Histogram,
    /// From the first hook to the verdict.
    pub authentication_seconds: Histogram,
    /// From the verdict to the upstream's answer head.
    pub upstream_seconds: Histogram,
    /// Calls by `identity_provider`, `endpoint`, `outcome`.
    pub idp_calls: IntCounterVec,
    /// Cache hits by `strategy`, `cache`.
    pub cache_hits: IntCounterVec,
    /// Cache misses by `strategy`, `cache`.
    pub cache_misses: IntCounterVec,
    /// Entries by `strategy`, `cache`.
    pub cache_entries: IntGaugeVec,
    /// Entries pushed out by newer ones, by `strategy`, `cache`.
    pub cache_evictions: IntCounterVec,
    /// When the certificates shown end, in seconds since the epoch, by listener and first name.
    pub certificate_not_after: IntGaugeVec,
    /// Seconds since the keys in use were fetched, by `identity_provider`; none before the first.
    pub key_set_age: GaugeVec,
    /// Addresses of a target that are in use, by `api`, `target` as configured; 0: none.
    pub upstream_healthy: IntGaugeVec,
    /// Requests in flight to an upstream, by `api`.
    pub upstream_in_flight: IntGaugeVec,
    /// Applications in the directory.
    pub applications: IntGauge,
    /// Reloads by `what` and `outcome`.
    pub reloads: IntCounterVec,
    /// Open client connections.
    pub connections: IntGauge,
    /// Requests refused at the connection, by `reason`.
    pub connection_refusals: IntCounterVec,
    /// Sessions that would not fit into a cookie.
    pub session_too_large: IntCounter,
    /// Log lines for which there was no room, or that could not be written.
    pub log_lines_dropped: IntCounter,
    /// Whether the last reading of applications and configuration was good, by `what`.
    pub last_reload_good: IntGaugeVec,
    /// Clients that an interrupted registration may have left at an IdP, and nobody can look for.
    pub orphans: IntCounter,
    /// The registry's revision that is in force.
    pub registry_revision: IntGauge,
    /// Whether the registry answers. A file's is always up.
    pub registry_up: IntGauge,
    /// Changes at an IdP that wait to be finished or undone.
    pub unfinished: IntGauge,
    /// Seconds since 1970 of start-up.
    pub start_time: Gauge,
}

impl Metrics {
    /// Makes and registers all metrics.
    ///
    /// # Errors
    /// Only where a name below is illegal or stands twice.
    pub fn new() -> prometheus::Result<Self> {
        let r = Registry::new();
        let build = gauges(
            &r,
            "dcr_build_info",
            "Always 1; the label tells.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            requests: counters(
                &r,
                "dcr_requests_total",
                "Requests by API and outcome: permit, or the code of the refusal.",
                &["api", "code"],
            )?,
            verdicts: counters(
                &r,
                "dcr_verdicts_total",
                "Verdicts by strategy, method and reason: permit, or the code of the refusal.",
                &["strategy", "method", "reason"],
            )?,
            request_seconds: seconds(&r, "dcr_request_seconds", "Whole requests.")?,
            authentication_seconds: seconds(
                &r,
                "dcr_authentication_seconds",
                "From a request's first hook to its verdict.",
            )?,
            upstream_seconds: seconds(
                &r,
                "dcr_upstream_seconds",
                "From the verdict to the head of the upstream's answer.",
            )?,
            idp_calls: counters(
                &r,
                "dcr_idp_calls_total",
                "Calls to identity providers by endpoint and outcome.",
                &["identity_provider", "endpoint", "outcome"],
            )?,
            cache_hits: counters(&r, "dcr_cache_hits_total", "Cache hits.", CACHE)?,
            cache_misses: counters(&r, "dcr_cache_misses_total", "Cache misses.", CACHE)?,
            cache_entries: gauges(&r, "dcr_cache_entries", "Entries in a cache.", CACHE)?,
            cache_evictions: counters(
                &r,
                "dcr_cache_evictions_total",
                "Entries that a full cache gave up.",
                CACHE,
            )?,
            certificate_not_after: gauges(
                &r,
                "dcr_certificate_not_after_seconds",
                "When a certificate shown to clients ends, in seconds since 1970.",
                &["listener", "name"],
            )?,
            key_set_age: register(
                &r,
                GaugeVec::new(
                    Opts::new(
                        "dcr_key_set_age_seconds",
                        "Since the keys in use were fetched; no sample before the first fetch.",
                    ),
                    &["identity_provider"],
                )?,
            )?,
            upstream_healthy: gauges(
                &r,
                "dcr_upstream_healthy",
                "Addresses of an upstream target that are healthy and not ejected.",
                &["api", "target"],
            )?,
            upstream_in_flight: gauges(
                &r,
                "dcr_upstream_in_flight",
                "Requests in flight to an upstream.",
                &["api"],
            )?,
            applications: register(
                &r,
                IntGauge::new("dcr_applications", "Applications in the directory.")?,
            )?,
            reloads: counters(
                &r,
                "dcr_reloads_total",
                "Readings of configuration and applications.",
                &["what", "outcome"],
            )?,
            connections: register(
                &r,
                IntGauge::new("dcr_connections", "Open client connections.")?,
            )?,
            connection_refusals: counters(
                &r,
                "dcr_connection_refusals_total",
                "Requests refused before they were read whole.",
                &["reason"],
            )?,
            session_too_large: register(
                &r,
                IntCounter::new(
                    "dcr_session_too_large_total",
                    "Sessions not set because the cookie would pass 1 KiB.",
                )?,
            )?,
            log_lines_dropped: register(
                &r,
                IntCounter::new("dcr_log_lines_dropped_total", "Log lines dropped.")?,
            )?,
            last_reload_good: gauges(
                &r,
                "dcr_last_reload_good",
                "1 where the last reading was applied, 0 where it was refused.",
                &["what"],
            )?,
            orphans: register(
                &r,
                IntCounter::new(
                    "dcr_registration_orphans_total",
                    "Clients that may be left at an identity provider.",
                )?,
            )?,
            registry_revision: register(
                &r,
                IntGauge::new("dcr_registry_revision", "The revision in force.")?,
            )?,
            registry_up: register(
                &r,
                IntGauge::new("dcr_registry_up", "1 while the registry answers.")?,
            )?,
            unfinished: register(
                &r,
                IntGauge::new(
                    "dcr_registrations_unfinished",
                    "Changes at identity providers that wait to be finished.",
                )?,
            )?,
            start_time: register(
                &r,
                Gauge::new("dcr_start_time_seconds", "When the program started.")?,
            )?,
            registry: r,
        })
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing into memory cannot fail, and a metric without samples is left out by gather.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

/// Brings a counter up to a total that is counted elsewhere.
pub fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// A counter of a family that is found when it is first needed, and never again.
#[derive(Debug, Default)]
pub struct Slot(OnceLock<IntCounter>);

impl Slot {
    /// Counts one.
    pub fn count(&self, family: &IntCounterVec, labels: &[&str]) {
        self.0
            .get_or_init(|| family.with_label_values(labels))
            .inc();
    }
}

const CACHE: &[&str] = &["strategy", "cache"];

fn register<C: Collector + Clone + 'static>(r: &Registry, metric: C) -> prometheus::Result<C> {
    r.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    r: &Registry,
    name: &str,
    help: &str,
    by: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(r, IntCounterVec::new(Opts::new(name, help), by)?)
}

fn gauges(r: &Registry, name: &str, help: &str, by: &[&str]) -> prometheus::Result<IntGaugeVec> {
    register(r, IntGaugeVec::new(Opts::new(name, help), by)?)
}

fn seconds(r: &Registry, name: &str, help: &str) -> prometheus::Result<Histogram> {
    register(
        r,
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?,
    )
}
