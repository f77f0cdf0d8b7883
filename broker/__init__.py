"""The embedded MQTT broker and the program `ratchetmq`."""
