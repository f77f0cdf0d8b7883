"""From the one settings file to the configuration of Mosquitto or NATS, as text."""
