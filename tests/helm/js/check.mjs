// SPDX-License-Identifier: Apache-2.0
// Objects of the Prometheus operator, as a JSON list on stdin, against its schemas: what is wrong on stdout, as a JSON list.
import { readFileSync } from "node:fs";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const kinds = { PodMonitor, PrometheusRule, ServiceMonitor };
const wrong = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new kinds[object.kind](object).validate();
  } catch (e) {
    wrong.push(`${object.kind} ${object.metadata.name}: ${e.message}`);
  }
}
console.log(JSON.stringify(wrong));
