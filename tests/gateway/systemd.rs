//! What systemd is told, and the unit that it runs.
