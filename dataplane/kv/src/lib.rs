//! The key-value data plane: RESP server over a journalled single-writer machine.
