module aurora.local/routes

go 1.26.8

require (
	istio.io/api v1.28.0
	sigs.k8s.io/gateway-api v1.4.0
)
