package form

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Metric is one family of samples, a gauge.
type Metric struct {
	Name, Help string
	Samples    []Sample
}

// Sample is one value with its labels, as [Label] writes them, joined by commas.
type Sample struct {
	Labels string
	Value  float64
}

// Checked are the metrics of every check; what begins their names tells the checks apart,
// since no two files may have the same.
func Checked(prefix string, at time.Time, success bool) []Metric {
	return []Metric{
		One(prefix+"_last_check_timestamp_seconds", "When the host was last checked.", "", float64(at.Unix())),
		One(prefix+"_last_check_success", "1 if the last check came to an answer.", "", Truth(success)),
	}
}

// One is a metric of one sample.
func One(name, help, labels string, value float64) Metric {
	return Metric{name, help, []Sample{{labels, value}}}
}

// Truth is 1 or 0.
func Truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Label writes a label with its value, escaped as the format asks for: UTF-8 alone.
func Label(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(value, "?")) + `"`
}

// Prometheus writes metrics in the text format that node_exporter's textfile collector
// reads, without times of samples.
func Prometheus(w io.Writer, ms []Metric) error {
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", m.Name, m.Help, m.Name)
		for _, s := range m.Samples {
			labels := s.Labels
			if labels != "" {
				labels = "{" + labels + "}"
			}
			fmt.Fprintf(&b, "%s%s %s\n", m.Name, labels, strconv.FormatFloat(s.Value, 'g', 12, 64))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
