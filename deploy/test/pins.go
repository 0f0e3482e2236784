// Package deploy tests what deploy/ holds: the chart, what is rendered from it, the dashboard and the documents.
package deploy
