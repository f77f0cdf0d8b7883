"""MQTT connections: the port and its one implementation on aiomqtt."""
