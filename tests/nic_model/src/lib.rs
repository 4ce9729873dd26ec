//! A software e1000 with a software IOMMU, for host tests of the driver.

//! Placeholder while the workspace is laid out.
