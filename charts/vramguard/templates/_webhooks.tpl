{{/* What validating and mutating webhooks have in common. Takes {root, path}. */}}
{{- define "vramguard.webhook.common" -}}
{{- $root := .root -}}
admissionReviewVersions: [v1]
sideEffects: None
matchPolicy: Equivalent
failurePolicy: {{ $root.Values.webhooks.failurePolicy }}
timeoutSeconds: {{ $root.Values.webhooks.timeoutSeconds }}
clientConfig:
  {{- if $root.Values.webhooks.url }}
  url: {{ printf "%s%s" $root.Values.webhooks.url .path | quote }}
  {{- else }}
  service:
    namespace: {{ $root.Release.Namespace }}
    name: {{ include "vramguard.fullname" $root }}
    path: {{ .path }}
    port: 443
  {{- end }}
  {{- if eq $root.Values.tls.source "secret" }}
  {{- with $root.Values.tls.caBundle }}
  caBundle: {{ . }}
  {{- end }}
  {{- end }}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
        {{- range append $root.Values.webhooks.excludeNamespaces $root.Release.Namespace | uniq }}
        - {{ . | quote }}
        {{- end }}
    - key: vramguard.io/mode
      operator: NotIn
      values: ["off"]
    {{- if $root.Values.webhooks.optIn }}
    - key: vramguard.io/mode
      operator: Exists
    {{- end }}
{{- with $root.Values.webhooks.objectSelector }}
objectSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Annotations of both configurations: those asked for, and cert-manager's. */}}
{{- define "vramguard.webhook.annotations" -}}
{{- $annotations := deepCopy .Values.webhooks.annotations }}
{{- if eq .Values.tls.source "certManager" }}
{{- $from := printf "%s/%s" .Release.Namespace (include "vramguard.fullname" .) }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" $from }}
{{- else if not (or .Values.tls.caBundle (hasKey $annotations "cert-manager.io/inject-ca-from-secret")) }}
{{- fail "tls.caBundle is empty, so the API server could not trust the webhook: set it to the base64 of your CA's PEM certificate (and create the Secret), or set tls.source to certManager" }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
CEL that lets through only what may concern GPUs, so that every other object never leaves the API server.
Takes {root, template: CEL path of the pod or pod template}. Lists may be absent or null before validation.
*/}}
{{- define "vramguard.cel.concernsGpus" -}}
{{- $match := .root.Values.webhooks.match -}}
{{- $spec := printf "%s.spec" .template -}}
{{- $metadata := printf "%s.metadata" .template -}}
{{- $resources := printf "['%s'].exists(p, r.startsWith(p))" (join "', '" $match.resourcePrefixes) -}}
{{- $annotations := printf "['%s'].exists(p, a.startsWith(p))" (join "', '" $match.annotationPrefixes) -}}
(has({{ $metadata }}) && has({{ $metadata }}.annotations) &&
  {{ $metadata }}.annotations.exists(a, {{ $annotations }})) ||
{{- if $match.resourceClaims }}
(has({{ $spec }}.resourceClaims) && {{ $spec }}.resourceClaims != null && {{ $spec }}.resourceClaims.size() > 0) ||
{{- end }}
((has({{ $spec }}.containers) && {{ $spec }}.containers != null ? {{ $spec }}.containers : []) +
 (has({{ $spec }}.initContainers) && {{ $spec }}.initContainers != null ? {{ $spec }}.initContainers : []))
.exists(c, has(c.resources) && (
  (has(c.resources.limits) && c.resources.limits.exists(r, {{ $resources }})) ||
  (has(c.resources.requests) && c.resources.requests.exists(r, {{ $resources }}))))
{{- end }}

{{/* Conditions on who asks. */}}
{{- define "vramguard.conditions.requester" -}}
- name: not-this-service
  expression: request.userInfo.username != 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "vramguard.serviceAccountName" . }}'
- name: not-a-kubelet
  expression: "!has(request.userInfo.groups) || !('system:nodes' in request.userInfo.groups)"
{{- end }}

{{- define "vramguard.conditions.extra" -}}
{{- with .Values.webhooks.match.extraConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vramguard.conditions.pod" -}}
{{ include "vramguard.conditions.requester" . }}
# A mirror pod shows what a kubelet already runs; it cannot be refused or changed.
- name: not-a-mirror-pod
  expression: "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)"
- name: concerns-gpus
  expression: |-
    {{- include "vramguard.cel.concernsGpus" (dict "root" . "template" "object") | nindent 4 }}
{{- include "vramguard.conditions.extra" . }}
{{- end }}

{{/* Conditions on objects of kinds that bring their own definition; which part of them are pods is for the server. */}}
{{- define "vramguard.conditions.custom" -}}
{{ include "vramguard.conditions.requester" . }}
- name: not-being-deleted
  expression: "!has(object.metadata.deletionTimestamp)"
- name: something-is-new
  expression: request.operation == 'CREATE' || !has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec
# What another object made was judged on that object.
- name: not-judged-on-its-owner
  expression: "!has(object.metadata.ownerReferences) || !object.metadata.ownerReferences.exists(o, has(o.controller) && o.controller)"
{{- include "vramguard.conditions.extra" . }}
{{- end }}

{{/* Takes {root, changes: CEL path under an object of what UPDATE must change, template: CEL path of the pod template}. */}}
{{- define "vramguard.conditions.template" -}}
{{ include "vramguard.conditions.requester" .root }}
# Finalizers must come off whatever we think of the template.
- name: not-being-deleted
  expression: "!has(object.metadata.deletionTimestamp)"
# Controllers and autoscalers update objects all the time; only a new template is a new question.
- name: template-is-new
  expression: request.operation == 'CREATE' || object.{{ .changes }} != oldObject.{{ .changes }}
# The template of these was judged on their owner.
- name: not-judged-on-its-owner
  expression: |-
    !has(object.metadata.ownerReferences) || !object.metadata.ownerReferences.exists(o,
      has(o.controller) && o.controller &&
      ((o.kind == 'Deployment' && o.apiVersion.startsWith('apps/')) ||
       (o.kind == 'CronJob' && o.apiVersion.startsWith('batch/'))))
- name: concerns-gpus
  expression: |-
    {{- include "vramguard.cel.concernsGpus" .  | nindent 4 }}
{{- include "vramguard.conditions.extra" .root }}
{{- end }}
