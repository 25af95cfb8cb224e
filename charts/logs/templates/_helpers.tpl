{{- define "logs.name" -}}
{{- if contains "logs" .Release.Name -}}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{- else -}}{{ printf "%s-logs" (.Release.Name | trunc 47 | trimSuffix "-") }}{{- end -}}
{{- end -}}

{{- define "logs.selector" -}}
app.kubernetes.io/name: sampan-logs
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "logs.labels" -}}
{{ include "logs.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "logs.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "logs.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "logs.config" -}}
{{- $paths := list "/var/log/pods" -}}
{{- if .Values.podLogs.paths -}}
{{- $paths = list -}}
{{- range .Values.podLogs.paths -}}{{- $paths = append $paths (printf "/var/log/pods/%s" .) -}}{{- end -}}
{{- end -}}
{{- toYaml (merge (dict "paths" $paths) .Values.config) -}}
{{- end -}}
