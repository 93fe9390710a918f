#!/bin/sh
class=org.apache.kafka.tools.BrokerApiVersionsCommand
[ ! -e /opt/kafka/libs/zookeeper-3*.jar ] || class=kafka.admin.BrokerApiVersionsCommand
exec /opt/kafka/bin/java-class $class "$@"
