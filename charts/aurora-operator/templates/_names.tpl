{{- define "aurora.labels" -}}
app.kubernetes.io/name: aurora-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "aurora.selector" -}}
app.kubernetes.io/name: aurora-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "aurora.tag" -}}
{{ .Values.images.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "aurora.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- define "aurora.allow" -}}
an administrator can allow it by the label aurora-operator.io/pod-templates=unrestricted on the namespace
{{- end }}
