//! What every data plane starts with: configuration, clock seam, logs, metrics, shutdown, operand server.
