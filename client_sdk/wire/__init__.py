"""The protocol's vocabulary: ids, topics and byte formats; pure, knows no cryptography."""
