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
{{- /* An image: list of the root and the component's name. */ -}}
{{- define "aurora.image" -}}
{{- $root := index . 0 }}{{- $own := index $root.Values.images (index . 1) }}
{{- $from := printf "%s/%s" ($own.registry | default $root.Values.images.registry) $own.repository }}
{{- if $own.digest }}{{ $from }}@{{ $own.digest }}
{{- else }}{{ $from }}:{{ $own.tag | default $root.Values.images.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- define "aurora.pullSecrets" -}}
{{- $names := list }}{{- range .Values.images.pullSecrets }}{{- $names = append $names .name }}{{- end }}{{ join "," $names }}
{{- end }}
{{- define "aurora.name" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- define "aurora.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "aurora.name" .) }}
{{- end }}
{{- /* Labels or annotations of the chart and of values, each key once: list of YAML and of a map that wins. */ -}}
{{- define "aurora.merged" -}}
{{ toYaml (mergeOverwrite (index . 0 | fromYaml) (deepCopy (index . 1))) }}
{{- end }}
{{- /* What pods of the Mooncake component have in common. */ -}}
{{- define "aurora.mooncake.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.mooncake }}
securityContext: {{- toYaml .podSecurityContext | nindent 2 }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- /* Whom the operator's policies for the pods of deployments name. */ -}}
{{- define "aurora.peers" -}}
operator:
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}}
    podSelector:
      matchLabels: {{- include "aurora.selector" . | nindent 8 }}
{{- with .Values.networkPolicy }}
monitoring: {{- toYaml .monitoring | nindent 2 }}
{{- with .deployments }}
clients: {{- .clients | default list | toYaml | nindent 2 }}
dns: {{- .dns.to | default list | toYaml | nindent 2 }}
dnsPorts: {{- toYaml .dns.ports | nindent 2 }}
hub: {{- .hub.to | default list | toYaml | nindent 2 }}
hubPorts: {{- toYaml .hub.ports | nindent 2 }}
mooncake: {{- .mooncake.to | default list | toYaml | nindent 2 }}
{{- if $.Values.mooncake.enabled }}
stores:
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $.Release.Namespace }}}}
    podSelector:
      matchLabels: {app.kubernetes.io/name: aurora-mooncake, app.kubernetes.io/instance: {{ $.Release.Name }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- define "aurora.allow" -}}
an administrator can allow it by the label aurora-operator.io/pod-templates=unrestricted on the namespace
{{- end }}
