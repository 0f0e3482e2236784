// Package sanity pins csi-sanity and the CSI specification, and compares our proto file with the latter.
package sanity
