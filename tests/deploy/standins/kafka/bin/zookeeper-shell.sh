#!/bin/sh
exec /opt/kafka/bin/java-class org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka -server "$@"
