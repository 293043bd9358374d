#!/bin/sh
# Print the directory of the libraries of an Apache Kafka broker, for tests. The first run downloads
# them with Maven into the cache (54 MB).
set -eu

version=4.1.2
cache="${XDG_CACHE_HOME:-$HOME/.cache}/fl-orchestrator/kafka-$version"

if [ -d "$cache" ]; then
    echo "$cache"
    exit 0
fi
for program in java mvn; do
    if ! command -v "$program" >/dev/null; then
        echo "There is no $program: install Java 17 or later, and Maven." >&2
        exit 1
    fi
done

mkdir -p "$(dirname "$cache")"
work="$(mktemp -d "$cache.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

cat >"$work/pom.xml" <<EOF
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fl-orchestrator</groupId>
  <artifactId>kafka-broker</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
EOF

echo "Downloading Apache Kafka $version into $cache (once; 54 MB)" >&2
(cd "$work" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) >&2
# Rename is atomic: of several builds at the same time, the first one stays.
mv -T "$work/lib" "$cache" 2>/dev/null || [ -d "$cache" ]
echo "$cache"
