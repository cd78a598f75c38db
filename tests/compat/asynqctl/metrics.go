package main

import (
	"os"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynq/x/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// runMetrics prints one scrape of asynq's queue metrics in the Prometheus text format: the one
// command whose output is not JSON, so that suites can compare expositions as text.
func runMetrics(args []string) error {
	flags, conn := newFlags("metrics")
	if err := parse(flags, args); err != nil {
		return err
	}
	inspector := asynq.NewInspector(conn.options())
	defer inspector.Close()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(metrics.NewQueueMetricsCollector(inspector)); err != nil {
		return err
	}
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(os.Stdout, family); err != nil {
			return err
		}
	}
	return nil
}
